#!/usr/bin/env bash
# PostgreSQL: its data directory on the volume, pgbench, both killed
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
[ -n "$bin" ] || die "PostgreSQL is not installed"
need runuser
chown postgres "$MNT"
cd "$WORK"
socket=$(mktemp -d)
chown postgres "$socket"
as() { runuser -u postgres -- "$@"; }
up() {
	as "$bin/pg_ctl" -D "$MNT/data" -w -s -t 120 -l "$socket/log" -o "-k $socket -c listen_addresses='' -c fsync=on" start || {
		tail -5 "$socket/log" >&2
		die "PostgreSQL does not start"
	}
}
sql() { as "$bin/psql" -h "$socket" -d postgres -qAtc "$1"; }
as "$bin/initdb" -D "$MNT/data" -A trust --data-checksums >/dev/null
up
as "$bin/pgbench" -h "$socket" -i -q -s 5 postgres 2>/dev/null
for round in 1 2 3 4; do
	as "$bin/pgbench" -h "$socket" -n -c 4 -j 2 -T 5 postgres >"$WORK/pgbench" 2>&1 &
	bench=$!
	sleep $((1 + RANDOM % 3))
	case $((round % 2)) in
	0) kill -9 "$(head -1 "$MNT/data/postmaster.pid")" ;;
	1) pkill -9 -u postgres postgres; crash ;;
	esac
	wait $bench || true
	while pgrep -u postgres postgres >/dev/null; do pkill -9 -u postgres postgres || true; sleep 0.1; done
	rm -f "$MNT/data/postmaster.pid"
	up
	sums=$(sql "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)")
	[ "$sums" = t ] || die "the balances do not add up after kill $round"
done
as "$bin/pg_amcheck" -h "$socket" --heapallindexed --install-missing -d postgres >"$WORK/amcheck" 2>&1 || {
	grep -q 'could not open extension control file\|is not available' "$WORK/amcheck" || die "$(head -3 "$WORK/amcheck")"
}
echo "   $(sql 'SELECT count(*) FROM pgbench_history') transactions through 4 kills"
as "$bin/pg_ctl" -D "$MNT/data" -w -s -m fast stop
as "$bin/pg_checksums" -D "$MNT/data" --check >/dev/null || die "checksums"
