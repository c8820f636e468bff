#!/usr/bin/env bash
# SQLite: both journal modes, its process and ours killed in between
need sqlite3
# work MODE FROM: inserts one row a transaction from FROM on, and notes each when it
# is committed.
work() {
	local i=$2
	{
		echo "PRAGMA journal_mode=$1; PRAGMA synchronous=EXTRA;"
		while [ "$i" -lt $(($2 + 5000)) ]; do
			echo "BEGIN; INSERT INTO t VALUES ($i, randomblob(2000)); UPDATE n SET n = $i; COMMIT;"
			echo ".print $i"
			i=$((i + 1))
		done
	} | sqlite3 -bail "$MNT/db" >"$WORK/acknowledged" 2>/dev/null
}
cd "$WORK"
for mode in delete wal; do
	rm -f "$MNT"/db*
	sqlite3 "$MNT/db" "PRAGMA journal_mode=$mode; CREATE TABLE t (i INTEGER PRIMARY KEY, b BLOB); CREATE TABLE n (n); INSERT INTO n VALUES (0);" >/dev/null
	next=1
	for round in 1 2 3 4 5 6; do
		work $mode $next 2>/dev/null &
		job=$!
		sleep 0.$((RANDOM % 9 + 1))
		case $((round % 2)) in
		0) pkill -9 -P $job sqlite3 || true ;;
		1) # As a power cut would: who is told of nothing acknowledges nothing. (A
			# directory that cannot be opened for its fsync is no error to SQLite.)
			pkill -STOP -P $job sqlite3 || true
			crash
			pkill -9 -P $job sqlite3 || true
			;;
		esac
		wait $job || true
		last=$(grep -E '^[0-9]+$' acknowledged | tail -1)
		[ "$(sqlite3 "$MNT/db" 'PRAGMA integrity_check')" = ok ] || die "integrity_check, $mode"
		have=$(sqlite3 "$MNT/db" 'SELECT n FROM n')
		rows=$(sqlite3 "$MNT/db" 'SELECT count(*) FROM t')
		[ "$have" -ge "${last:-0}" ] || die "$mode: $last was acknowledged, $have is there"
		[ "$rows" = "$have" ] || die "$mode: $rows rows, $have counted"
		next=$((have + 1))
	done
	echo "   $mode: $have transactions through 6 kills"
done
