#!/bin/sh
# An agent that grows a nasty tree, says so, and waits. Everything it starts has "$1" in its command line.
# Parts whose tools are missing are left out. "$4" is zoo.c, built, if there is a compiler.
token=$1
python=$2
have() { command -v "$1" >/dev/null 2>&1; }

sleep "1001.$token" &                                                  # plain
nohup sleep "1002.$token" >/dev/null 2>&1 &                            # no hangups
(trap '' TERM INT HUP; sleep "1003.$token"; sleep "1003.$token") &     # ignores requests
( (sleep "1004.$token" &) & )                                          # orphaned at once
env -i sleep "1005.$token" &                                           # environment wiped
if have setsid; then
    setsid sleep "1006.$token" &                                       # a session of its own
    (setsid sh -c "sleep 1007.$token & exit 0" &)                      # the same, orphaned
    (env -i setsid /bin/sh -c "/bin/sleep 1008.$token & exit 0" &)     # the same, environment wiped
fi
if have script; then
    script -qec "sleep 1009.$token" /dev/null >/dev/null </dev/null &  # a terminal of its own
fi
if have tmux; then
    tmux -L "zoo$token" new-session -d "sleep 1010.$token" 2>/dev/null # a server that daemonises itself
fi
"$python" -I -S -c 'import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 256); os.chdir("/"); os.execvp("sleep", ["sleep", "1011." + sys.argv[1]])' "$token" &
"$python" -I -S -c 'import ctypes, os, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a subreaper inside ours
if not os.fork():
    os.setsid()
    if not os.fork(): os.execvp("sleep", ["sleep", "1012." + sys.argv[1]])
    os._exit(0)
time.sleep(1012)' "$token" &
(env -i "$python" -I -S -c 'import ctypes, os, sys, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # its environment cannot be read
os.setsid(); time.sleep(1013)' "$token" &)
if unshare -Ur true 2>/dev/null; then
    unshare -Ur sleep "1014.$token" &                                  # another user, as it believes
    unshare -Urpf setsid sh -c "sleep 1015.$token & exec sleep 1016.$token" & # the first process of a world of its own
    unshare -Urm sh -c "mount -t tmpfs none /tmp; exec env -i sleep 1017.$token" & # and with files of its own
fi
(sh -c 'kill -STOP $$; sleep 60' "1018.$token" &)                      # stopped, and cannot hear
"$python" -I -S -c 'import os, sys, threading, time
for name in ("cmdline", "comm"):                                       # under another name, in another group
    with open(f"/proc/self/{name}") as file: file.read()
os.setpgid(0, 0); os.chdir("/"); os.umask(0)
threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(1019)' "1019.$token" &
if [ -x "$4" ]; then
    for kind in vfork sibling traced stopped subreaper; do "$4" "zoo-$token" $kind & done
    setsid "$4" "zoo-$token" guards 2 >/dev/null &                     # who is killed is made anew by the other
fi

# Ready when the last of them is there.
until [ "$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -o "101[12]\.$token" | sort -u | wc -l)" = 2 ]; do
    sleep 0.02
done
echo ready
[ "$3" = stay ] && wait
exit 7
