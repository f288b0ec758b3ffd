# on_start: before each start of the consumer, makes sure that keybox knows the account in the consumer's .env.
#
# It matters when keybox's volume is new or came from a backup: the account is made again with the password that the
# consumer already has. What it prints is read for the log only.
set -eu
umask 077

case $FURTKA_CONSUMER_APP in
'' | *[!a-z0-9_-]*)
    echo "not a name for an account: '$FURTKA_CONSUMER_APP'" >&2
    exit 1
    ;;
esac
account=/data/accounts/$FURTKA_CONSUMER_APP
password=${FURTKA_CONSUMER_ENV_KEYBOX_PASSWORD:-}
if [ -z "$password" ]; then
    echo "KEYBOX_PASSWORD is missing in the .env of $FURTKA_CONSUMER_APP" >&2
    exit 1
fi

if [ "$(cat "$account" 2>/dev/null)" != "$password" ]; then
    new=$(mktemp /data/accounts/.new.XXXXXX)
    trap 'rm -f "$new"' EXIT
    printf '%s\n' "$password" >"$new"
    mv -f "$new" "$account"
    echo "the account of $FURTKA_CONSUMER_APP was made again"
fi
