# Speaks to keybox with the account in KEYBOX_URL, KEYBOX_USER and KEYBOX_PASSWORD. To be read in with `.`.
#
#   keybox GET            the names of all notes
#   keybox GET NAME       a note
#   keybox POST NAME      keeps standard input as that note
#
# It ends with 0 only when keybox answered 200. The request goes through a pipe, so that no password is ever an
# argument of a program, which everybody on the machine could read.
keybox() {
    keybox_address=${KEYBOX_URL#http://}
    keybox_answer=$(
        {
            # The x keeps line breaks at the end of the note, which $(…) would take off.
            if [ "$1" = POST ]; then body=$(cat && echo x) && body=${body%x}; else body=; fi
            LC_ALL=C
            printf '%s /cgi-bin/notes%s HTTP/1.0\r\n' "$1" "${2:+?$2}"
            printf 'X-Keybox-User: %s\r\nX-Keybox-Password: %s\r\n' "$KEYBOX_USER" "$KEYBOX_PASSWORD"
            printf 'Content-Length: %s\r\n\r\n%s' "$(printf %s "$body" | wc -c)" "$body"
        } | timeout 4 nc "${keybox_address%:*}" "${keybox_address##*:}"
    ) || return 1
    printf '%s\n' "$keybox_answer" | sed '1,/^\r*$/d'
    case $keybox_answer in 'HTTP/1.'?' 200 '*) ;; *) return 1 ;; esac
}
