#!/bin/sh
# The page: shows the notes, and keeps the one that was typed in.
. /app/keybox.sh

escape() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g'; }

if [ "$REQUEST_METHOD" = POST ]; then
    size=${CONTENT_LENGTH:-0}
    case $size in *[!0-9]* | ?????*) size=9999 ;; esac
    form=$(head -c "$size" | tr '+' ' ')
    text=$(httpd -d "${form#text=}")
    if printf '%s\n' "$text" | keybox POST "note-$(date -u +%Y%m%d-%H%M%S)-$$" >/dev/null; then
        printf 'Status: 303 See Other\r\nLocation: /\r\n\r\n'
        exit 0
    fi
fi

printf 'Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n'
cat <<'PAGE'
<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Notebook</title></head>
  <body style="font: 1.2rem/1.6 sans-serif; max-width: 36rem; margin: 4rem auto">
    <h1>Notebook</h1>
    <form method="post" action="/cgi-bin/index.cgi">
      <input name="text" size="40" maxlength="1000" autofocus> <button>Keep</button>
    </form>
PAGE
if names=$(keybox GET); then
    echo '<ul>'
    for name in $names; do
        case $name in note-*) printf '<li>%s</li>\n' "$(keybox GET "$name" | escape)" ;; esac
    done
    echo '</ul>'
else
    echo '<p>Keybox does not answer, or does not know this account.</p>'
fi
printf '<p><small>Kept by keybox in the account <code>%s</code>.</small></p></body></html>\n' "$KEYBOX_USER"
