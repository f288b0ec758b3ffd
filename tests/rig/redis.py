"""A real Redis as a provider, and consumers that log in to it with what its hook made for them.

The server is Debian's own, in an image made here. What the tests expect of it is theirs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rig.engine import api
from rig.images import build_image, with_libraries
from rig.programs import find_program
from rig.service import Home
from rig.waiting import wait_until

# (No category such as all or read is named: in a file of the tests an at sign stands for the prefix.)
# Nobody may do more than say ping without a password; Homeport's hooks are the administrator, by a file that only
# this container sees. Users and data are on the volume, so a new container has them as well.
START = """\
set -eu
umask 077
if [ ! -s /data/users.acl ]; then
    password=$(od -An -tx1 -N24 /dev/urandom | tr -d ' \\n')
    printf '%s' "$password" >/data/admin
    printf 'user default on nopass nocommands +ping\\nuser admin on >%s ~* &* allcommands\\n' "$password" \\
        >/data/users.acl.new
    mv /data/users.acl.new /data/users.acl
fi
exec redis-server --dir /data --aclfile /data/users.acl --appendonly yes --save '' --protected-mode no
"""

# The password of an earlier run is kept, so that running it twice changes nothing. It goes to the server through a
# pipe: an argument would show in the machine's list of processes.
ADD_USER = """\
set -eu
export REDISCLI_AUTH="$(cat /data/admin)"
user=$FURTKA_CONSUMER_APP
password=${FURTKA_CONSUMER_ENV_REDIS_PASSWORD:-$(od -An -tx1 -N24 /dev/urandom | tr -d ' \\n')}
said=$(printf 'ACL SETUSER %s reset on >%s ~%s:* +get +set +del +ping +acl|whoami\\nACL SAVE\\n' \\
    "$user" "$password" "$user" | redis-cli --user admin)
[ "$said" = "OK
OK" ] || { echo "redis refused: $said" >&2; exit 1; }
echo "REDIS_USER=$user"
echo "REDIS_PASSWORD=$password"
"""

PROVIDER = """\
services:
  redis:
    image: {image}
    command: ["sh", "/opt/start.sh"]
    init: true
    stop_grace_period: 0s
    healthcheck: {{test: "redis-cli ping | grep -q PONG", interval: 1s, retries: 3}}
    volumes: ["data:/data", "./start.sh:/opt/start.sh:ro"]
volumes: {{data: {{name: furtka_@redis_data, external: true}}}}
"""

# `REDISCLI_AUTH` is read by redis-cli itself. Healthy means: logged in, written and read back.
CONSUMER = """\
services:
  main:
    image: {image}
    command: ["sleep", "100000"]
    init: true
    stop_grace_period: 0s
    environment: {{REDIS_USER: "${{REDIS_USER:?}}", REDISCLI_AUTH: "${{REDIS_PASSWORD:?}}"}}
    healthcheck:
      test: 'redis="redis-cli -h redis --user $$REDIS_USER";
        $$redis set "$$REDIS_USER:alive" yes && $$redis get "$$REDIS_USER:alive" | grep -q yes'
      interval: 1s
      retries: 3
networks: {{default: {{name: "@redis_default", external: true}}}}
"""


def build_redis_image(host: str) -> str:
    """Makes the image of the provider and its consumers; answers with its name, which stands for its content.

    Skips the test where Debian's Redis is not installed.
    """
    programs = [find_program("redis-server", "redis-server"), find_program("redis-cli", "redis-tools")]
    files = with_libraries(programs)
    digest = hashlib.sha256(
        b"".join(path.encode() + data for path, data in sorted(files.items()))
    ).hexdigest()
    name = f"homeport/test-redis:{digest[:12]}"
    with api(host) as client:
        known = client.images(name=name)
    if not known:
        build_image(host, name, files)
    return name


class Redis:
    """The provider `redis` in one home, and its consumers."""

    def __init__(self, home: Home, image: str) -> None:
        self.home = home
        self.image = image

    def put_provider(self) -> Path:
        """Drop the provider in."""
        files = {"start.sh": START, "scripts/add-user.sh": ADD_USER}
        return self.home.put("redis", PROVIDER.format(image=self.image), files, volumes=["data"])

    def put_consumer(self, short: str) -> Path:
        """Drop a consumer in; the hook makes a user for it."""
        requires = [{"app": self.home.name("redis"), "on_install": "scripts/add-user.sh"}]
        return self.home.put(short, CONSUMER.format(image=self.image), requires=requires)

    def ask(self, short: str, *command: str, user: str | None = None) -> str:
        """What Redis answers to a consumer that logs in as it would itself; the user may be another one."""
        name = user or self.home.env_of(short)["REDIS_USER"]
        return self._inside(
            f"{self.home.name(short)}-main-1", ["redis-cli", "-h", "redis", "--user", name, *command]
        )

    def lose_provider(self) -> None:
        """Remove the provider's container as by accident, and wait until another one runs."""
        name = f"{self.home.name('redis')}-redis-1"
        old = self.home.containers("redis")[name]["Id"]
        with api(self.home.engine) as client:
            client.remove_container(old, force=True)
        wait_until(
            lambda: self.home.containers("redis").get(name, {"Id": old})["Id"] != old,
            "redis has a new container",
            20,
        )

    def password_of(self, short: str) -> str:
        """What the hook wrote into the consumer's `.env`."""
        lines = (self.home.apps / self.home.name(short) / ".env").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        return values["REDIS_PASSWORD"].strip("'\"")

    def _inside(self, container: str, command: list[str]) -> str:
        with api(self.home.engine) as client:
            execution = client.exec_create(container, command)
            output: bytes = client.exec_start(execution["Id"])
        return output.decode().strip()
