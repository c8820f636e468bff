#!/usr/bin/env bash
# git: clone, commit, gc, fsck, and a clone that is killed
need git
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org

git clone -q --no-local "$REPO" clone
git -C clone fsck --full --strict 2>&1 | grep -v '^notice' || true
for i in 1 2 3; do
	echo "$i" >"clone/new-$i"
	git -C clone add "new-$i"
	git -C clone commit -qm "commit $i"
done
git -C clone gc -q --aggressive --prune=now
git -C clone fsck --full --strict
[ -z "$(git -C clone status --porcelain)" ] || die "not clean after gc"
git -C clone archive HEAD | tar -x -C "$(mkdir unpacked && echo unpacked)"
diff -r --exclude=.git clone unpacked

# What a kill leaves of a repository is never a damaged one.
cd "$WORK"
for delay in 0.05 0.2 0.5; do
	(cd "$MNT/clone" && for i in $(seq 200); do
		echo "$i $delay" >changing
		git add changing
		git commit -qm "again $i"
	done) 2>/dev/null &
	sleep "$delay"
	crash
	wait || true
	rm -f "$MNT/clone/.git/index.lock" "$MNT/clone/.git/HEAD.lock" "$MNT"/clone/.git/refs/heads/*.lock
	git -C "$MNT/clone" fsck --full >/dev/null || die "git fsck after a kill"
	git -C "$MNT/clone" reset -q --hard
done
