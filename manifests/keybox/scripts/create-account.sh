# on_install: makes the account of the app that requires keybox, and prints what that app needs to log in.
#
# Homeport runs it inside keybox's container, once for each consumer. What it prints as KEY=VALUE goes into the
# consumer's .env. It may be run again (after a crash, say), and then prints the password that is there already.
set -eu
umask 077

case $FURTKA_CONSUMER_APP in
'' | *[!a-z0-9_-]*)
    echo "not a name for an account: '$FURTKA_CONSUMER_APP'" >&2
    exit 1
    ;;
esac
account=/data/accounts/$FURTKA_CONSUMER_APP

if [ ! -s "$account" ]; then
    new=$(mktemp /data/accounts/.new.XXXXXX)
    trap 'rm -f "$new"' EXIT
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$new"
    # A link never replaces: when another run was quicker, its password counts.
    ln "$new" "$account" 2>/dev/null || [ -s "$account" ]
fi

echo "KEYBOX_URL=http://keybox:8080"
echo "KEYBOX_USER=$FURTKA_CONSUMER_APP"
echo "KEYBOX_PASSWORD=$(cat "$account")"
