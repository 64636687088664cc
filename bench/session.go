package main

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// population is a row of sessions. The key and the value of each follow from its number, so
// that any of them can be written, and checked, at any moment without being remembered.
type population struct {
	first uint64 // number of the first session; populations that do not overlap share no key
	count int
	sizes sizes
	bytes *corpus
}

// sizes are the sizes of values; sessions take one of them at random.
type sizes []int

// mixedSizes are 200 bytes to 4 KiB with a median of about 512, as session stores see them.
var mixedSizes = sizes{200, 300, 400, 500, 550, 700, 1200, 4096}

const keyPrefix, keyLength = "sess:", 5 + 32

// appendKey appends the key of session i, counted from 0: the prefix of the well-known
// session stores and an identifier of 32 characters.
func (p population) appendKey(dst []byte, i int) []byte {
	n := p.first + uint64(i)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], scramble(n))
	binary.BigEndian.PutUint64(id[8:], scramble(^n))
	return hex.AppendEncode(append(dst, keyPrefix...), id[:])
}

// value returns the value of session i, which must not be changed.
func (p population) value(i int) []byte {
	size := p.size(i)
	room := uint64(len(p.bytes.data) - size + 1)
	start := scramble(p.first+uint64(i)+1<<62) % room
	return p.bytes.data[start:][:size]
}

func (p population) size(i int) int {
	if len(p.sizes) == 1 {
		return p.sizes[0]
	}
	return p.sizes[scramble(p.first+uint64(i)+1<<61)%uint64(len(p.sizes))]
}

// scramble spreads a number over 64 bits, one to one: the finalizer of SplitMix64.
func scramble(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// corpus is what all values are cut from.
type corpus struct {
	data        []byte
	randomShare float64
}

const (
	corpusSize = 16 << 20
	corpusStep = 64 // bytes between two beginnings of random bytes
)

// newCorpus returns bytes of which a share is random and the rest is the same text again
// and again, the same in each run.
func newCorpus(randomShare float64) *corpus {
	source := rand.NewChaCha8([32]byte{})
	data := make([]byte, corpusSize)
	const text = `"cookie":{"originalMaxAge":86400000,"httpOnly":true,"path":"/"},`
	random := int(randomShare * corpusStep)
	for i := 0; i < len(data); i += corpusStep {
		_, _ = source.Read(data[i : i+random]) // never fails
		copy(data[i+random:i+corpusStep], text)
	}
	return &corpus{data, randomShare}
}
