package sessiond_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/sessiond/sessiond"
)

// A session that is stored, touched at each visit, and deleted at the logout.
func Example() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := sessiond.Open(dir, sessiond.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	ctx, sessions := context.Background(), store.DB(0)
	if err := sessions.Set(ctx, "s3cr3t", []byte("ada"), 30*time.Minute); err != nil {
		log.Fatal(err)
	}
	user, found, err := sessions.Get(ctx, "s3cr3t")
	fmt.Printf("%s %v %v\n", user, found, err)

	found, err = sessions.Touch(ctx, "s3cr3t", time.Hour)
	fmt.Println(found, err)
	left, found, err := sessions.TTL(ctx, "s3cr3t")
	fmt.Println(left.Round(time.Minute), found, err)

	n, err := sessions.Delete(ctx, "s3cr3t")
	fmt.Println(n, err)
	_, found, err = sessions.Get(ctx, "s3cr3t")
	fmt.Println(found, err)
	// Output:
	// ada true <nil>
	// true <nil>
	// 1h0m0s true <nil>
	// 1 <nil>
	// false <nil>
}

// The sessions of a program, open to Redis clients on the same machine.
func ExampleStore_Serve() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := sessiond.Open(dir, sessiond.Options{Durability: sessiond.Strict})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // 127.0.0.1:6379 in earnest
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- store.Serve(ln) }()

	// When the program has to stop:
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(store.Shutdown(ctx))
	fmt.Println(errors.Is(<-done, sessiond.ErrServerClosed))
	fmt.Println(store.Close())
	// Output:
	// <nil>
	// true
	// <nil>
}
