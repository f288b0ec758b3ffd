"""`python -m controller` is the `homeport` command."""

from controller.cli.main import main

main()
