package server

import "runtime/metrics"

// memoryInUse returns the bytes of this process that are in memory and in no file, which is
// what it uses, and all that are in memory, its program included. Go's own figure cannot be
// used where the system tells: it counts the whole of a cache that was set aside and not
// written to yet, and not what the engine takes outside of Go. Where the system does not tell
// it is all there is, and resident is 0.
func memoryInUse() (used, resident uint64) {
	if used, resident = systemMemory(); resident == 0 {
		used = goMemory()
	}
	return used, resident
}

// goMemory returns the bytes the Go runtime holds and has not given back.
func goMemory() uint64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}
