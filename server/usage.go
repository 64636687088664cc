package server

import "runtime/metrics"

// memoryInUse returns the bytes of this process that are in memory. resident is all of them; used is
// without those that belong to a file, such as the program. The system's figures are better than those
// of the Go runtime, which include memory that was reserved and not written to yet and lack what the
// engine allocates outside of Go. If the system has no figures, used is that of the runtime and
// resident is 0.
func memoryInUse() (used, resident uint64) {
	if used, resident = systemMemory(); resident == 0 {
		used = goMemory()
	}
	return used, resident
}

// goMemory returns the bytes that the Go runtime has taken from the system and not given back.
func goMemory() uint64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}
