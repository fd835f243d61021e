// What the function answers; serve.go lets it be asked.
package main

import (
	"fmt"
	"io"
	"net/http"
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
	fmt.Fprintf(answer, "Hello, %s!\n", name)
}
