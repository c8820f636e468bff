package fs

import "sync"

var blockPool = sync.Pool{New: func() any { return new([BlockSize]byte) }}

// takeBlock returns a block of zeros.
func takeBlock() []byte {
	b := blockPool.Get().(*[BlockSize]byte)
	clear(b[:])
	return b[:]
}

func giveBlock(b []byte) { blockPool.Put((*[BlockSize]byte)(b)) }
