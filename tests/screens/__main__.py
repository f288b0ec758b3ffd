"""`make screens`: the captures anew."""

from screens.captures import WIDTHS, capture, path_of

for width in WIDTHS:
    path_of(width).write_text(capture(width))
    print(path_of(width))
