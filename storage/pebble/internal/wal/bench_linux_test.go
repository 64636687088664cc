package wal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// osFS is the file system of the machine.
type osFS struct{}

func (osFS) Create(path string) (File, error) { return openOS(path, os.O_CREATE|os.O_TRUNC) }
func (osFS) Open(path string) (File, error)   { return openOS(path, 0) }
func (osFS) Join(dir, name string) string     { return filepath.Join(dir, name) }
func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	return f.Sync()
}

type osFile struct{ *os.File }

func openOS(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	return osFile{f}, err
}

func (f osFile) Sync() error { return syscall.Fdatasync(int(f.Fd())) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// benchConfig is that of a log on the machine's disk.
func benchConfig(b *testing.B) Config {
	return Config{FS: osFS{}, Dir: b.TempDir(), Segments: 4, SegmentBytes: 8 << 20}
}

// fill makes every segment of a log, as the first round through them does.
func fill(b *testing.B, l *Log) {
	b.Helper()
	frame := make([]byte, 64<<10)
	for range 2 * 4 * (8 << 20) / len(frame) {
		appendBench(b, l, frame)
	}
	if err := l.Sync(context.Background(), l.End()); err != nil {
		b.Fatal(err)
	}
}

// appendBench appends a frame, and gives the log up when it is full.
func appendBench(b *testing.B, l *Log, frame []byte) LSN {
	for {
		end, err := l.Append(frame)
		if err == nil {
			return end
		}
		if err := l.Sync(context.Background(), l.End()); err != nil {
			b.Fatal(err)
		}
		if err := l.Release(l.End()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLog_Append is a frame that nobody waits for; the kernel gets it with others.
func BenchmarkLog_Append(b *testing.B) {
	for _, size := range []int{80, 600, 16 << 10} {
		for _, pipeline := range []int{1, 16} {
			b.Run(fmt.Sprintf("bytes=%d/pipeline=%d", size, pipeline), func(b *testing.B) {
				l := create(b, benchConfig(b))
				fill(b, l)
				frame := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for n := range b.N {
					appendBench(b, l, frame)
					if n%pipeline == 0 {
						if err := l.Write(); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StopTimer()
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkLog_Sync is a frame of 600 bytes that each of so many goroutines waits for.
func BenchmarkLog_Sync(b *testing.B) {
	for _, writers := range []int{1, 16, 50, 200} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := create(b, benchConfig(b))
			fill(b, l)
			frame := make([]byte, 600)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{}, writers)
			b.ReportAllocs()
			b.ResetTimer()
			for range writers {
				go func() {
					defer func() { done <- struct{}{} }()
					for left.Add(-1) >= 0 {
						if err := l.Sync(context.Background(), appendBench(b, l, frame)); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			for range writers {
				<-done
			}
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen reads a full log of frames of 80 bytes.
func BenchmarkOpen(b *testing.B) {
	config := benchConfig(b)
	l := create(b, config)
	from := l.End()
	payload := framed(strings.Repeat("x", 80-HeaderSize))
	for {
		if _, err := l.Append(payload); err != nil {
			break
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(config.Segments * config.SegmentBytes))
	for b.Loop() {
		l, found, err := Open(config, from, func(Frame) error { return nil })
		if err != nil || found.Frames < 100_000 {
			b.Fatal(found, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
