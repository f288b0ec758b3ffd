#!/bin/sh
# The page: shows the entries, and adds the one that was typed in.
escape() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g'; }

if [ "$REQUEST_METHOD" = POST ]; then
    size=${CONTENT_LENGTH:-0}
    case $size in *[!0-9]* | ?????*) size=9999 ;; esac
    form=$(head -c "$size" | tr '+' ' ')
    # One entry is one line, added in one write.
    printf '%s\n' "$(httpd -d "${form#text=}" | tr '\r\n' '  ')" >>/entries/entries.txt
    printf 'Status: 303 See Other\r\nLocation: /\r\n\r\n'
    exit 0
fi

printf 'Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n'
cat <<PAGE
<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>Guestbook</title></head>
  <body style="font: 1.2rem/1.6 sans-serif; max-width: 36rem; margin: 4rem auto">
    <h1>The guestbook of $(printf '%s' "$GUESTBOOK_OWNER" | escape)</h1>
    <form method="post" action="/cgi-bin/index.cgi">
      <input name="text" size="40" maxlength="1000" autofocus> <button>Sign</button>
    </form>
    <ul>$([ ! -f /entries/entries.txt ] || escape </entries/entries.txt | sed 's/.*/<li>&<\/li>/')</ul>
  </body>
</html>
PAGE
