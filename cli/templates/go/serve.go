package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// A program that serves HTTP on PORT is a function.
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
