# The health check: is what we write to keybox what we read from it?
. /app/keybox.sh
written="check $(cat /proc/sys/kernel/random/uuid)"
printf '%s' "$written" | keybox POST check >/dev/null || { echo "keybox did not keep the note"; exit 1; }
read=$(keybox GET check) || { echo "keybox did not give the note back"; exit 1; }
[ "$read" = "$written" ] || { echo "keybox gave another note back"; exit 1; }
