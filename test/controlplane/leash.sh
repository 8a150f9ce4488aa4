#!/bin/sh
# Runs a command for as long as standard input stays open. The other end of that pipe belongs to the test process, and the
# kernel closes it however that process ends (kill -9 too), so nothing that a test started outlives it. TERM is passed on.
# With -r DIRECTORY instead of a command: removes the directory when standard input closes.
if [ "$1" = -r ]; then
  while read -r _; do :; done
  # Programs that write there are being killed at this moment.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$2" 2>/dev/null && exit 0
    sleep 0.2
  done
  exit 1
fi

exec 3<&0
"$@" </dev/null 3<&- &
command=$!
{
  while read -r _; do :; done <&3
  kill -KILL "$command"
} 2>/dev/null &
watcher=$!
exec 3<&-
trap 'kill -TERM "$command"' TERM
while kill -0 "$command" 2>/dev/null; do
  wait "$command"
  status=$?
done
kill "$watcher" 2>/dev/null
exit "$status"
