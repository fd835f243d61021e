// What the function answers; serve.go lets it be asked.
package main

import (
	"fmt"
	"io"
	"net/http"

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
