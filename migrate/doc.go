// Package migrate brings a volume from one key to another.
//
// It promises that the volume can be opened at every moment, whatever is cut
// off: with the old key until the first step is durable, with the new one from
// then on. Run again, with either, it finds out by itself what is left to do. At
// the end no byte that the volume needs, and no key slot, is left under the old
// key. Rewrapping promises less, and Options.Rewrap says what.
//
// It refuses to forget the old key while a damaged frame is sealed under it: the
// frame may be brought back from a copy.
//
// It knows nothing of where keys come from. It is imported by cmd, and imports
// store; never the other way round. It has no locks of its own.
package migrate
