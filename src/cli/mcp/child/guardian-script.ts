/**
 * What the guardian does, for any POSIX shell. It reads `+ GROUP START` and `- GROUP` until nobody can write any more,
 * and then ends every group that is left: SIGTERM, and after 3 s SIGKILL. START is when the leader of the group has
 * started, as /proc says it. Where the leader has another one by then, the number belongs to strangers; where there is
 * no leader, or no /proc, nobody can tell.
 */
export const GUARDIAN_SCRIPT = `# subrosa: ends the MCP servers of process $1 when that is gone
trap '' HUP INT QUIT TERM
groups=
while read -r change group start; do
  case $group in '' | *[!0-9]* | 0 | 1) continue ;; esac
  kept=
  for each in $groups; do [ "\${each%:*}" = "$group" ] || kept="$kept $each"; done
  groups=$kept
  [ "$change" != + ] || groups="$groups $group:$start"
done
read_start() {
  start= stat=
  [ -r "/proc/$1/stat" ] || return 0
  while IFS= read -r line; do stat="$stat $line"; done <"/proc/$1/stat"
  set -- \${stat##*) }
  start=\${20}
}
forget_ended() {
  kept=
  for each in $groups; do
    read_start "\${each%:*}"
    [ -z "$start" ] || [ -z "\${each#*:}" ] || [ "$start" = "\${each#*:}" ] || continue
    kill -0 "-\${each%:*}" && kept="$kept $each"
  done
  groups=$kept
}
forget_ended
for each in $groups; do kill -TERM "-\${each%:*}"; done
for second in 1 2 3; do
  forget_ended
  [ -z "$groups" ] || sleep 1
done
forget_ended
for each in $groups; do kill -KILL "-\${each%:*}"; done
`
