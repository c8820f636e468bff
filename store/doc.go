// Package store is the sealed volume: one ordered map and the data it refers
// to, encrypted and authenticated as a whole, on a host that is not trusted.
//
// Everything in a volume is a sealed frame in a write-once segment. A frame's
// place is its identity: its key comes from the segment, its nonce from its
// place, and no place is ever written twice under one key. Whoever points at a
// frame therefore vouches for it, and the root, through the tree, vouches for
// everything.
//
// The package promises that after a crash at any point the volume opens in a
// state that is a prefix of its updates and holds all that was committed; that
// a read returns what was written or an error; and that nothing the host says
// makes it panic, loop or allocate without bound. It refuses to go on after a
// host call whose outcome is unknown. It is imported by fs, migrate and coffer,
// and never by kds.
//
// Locks, outermost first:
//
//	closeMu       one Close
//	reapMu        one who ends the deletion of snapshots
//	reclaimMu     one maker of room
//	  cleanMu     one cleaner
//	    prepareMu one maker of the next log segment
//	    ckptMu    one checkpoint; guards nodes
//	      syncMu  one commit; the others wait for it and find their work done
//	        appendMu  batches reach the host in order
//	anchor.mu         one question to the anchor; not together with ckptMu,
//	                  syncMu and appendMu
//	          mu      the map, the table, the open batch, all counters;
//	                  never held over a call to the host
//
// Whoever writes while the cleaner is behind waits a little with each write, so that
// it need not wait long for the last segment (pace.go). The cleaner never waits for
// a writer.
//
// View takes mu only to begin and to end.
//
// Whoever waits for room holds none of these. The cleaner needs room itself, and
// has segments that nobody else takes; it never waits for another cleaner.
//
// A segment is deleted by the checkpoint that no longer needs it, or, if it is a
// log segment before the root's log, as soon as the log behind the root says
// durably that nothing lives in it: recovery applies that log before anyone reads.
package store
