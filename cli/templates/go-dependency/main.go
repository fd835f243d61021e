// A program that serves HTTP on PORT is a function.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/dustin/go-humanize"
)

func handle(answer http.ResponseWriter, request *http.Request) {
	name, err := io.ReadAll(request.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	if len(name) == 0 {
		name = []byte("world")
	}
	size := humanize.Bytes(uint64(len(name)))
	fmt.Fprintf(answer, "Hello, %s! Your name has %s.\n", name, size)
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{
		Addr:    net.JoinHostPort(os.Getenv("HOST"), port),
		Handler: http.HandlerFunc(handle),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()

	// SIGTERM is the time to end: requests that run are finished.
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ended.Done():
		if err := server.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
}
