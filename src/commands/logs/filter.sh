# The lines of COMMAND that contain a text, by grep with these flags. Memory stays small however much the command says.
# Its own status where it failed, else 0, or NOTHING where no line was found.
exec 4>&1
s=$({ { /bin/sh -c {} 3>&- 4>&-; echo $? >&3; } | LC_ALL=C.UTF-8 grep {} --line-buffered -e {} >&4 3>&-; echo $? >&3; } 3>&1)
set -- $s
[ "$1" -eq 0 ] || exit "$1"
[ "$2" -ne 1 ] || exit {}
exit "$2"
