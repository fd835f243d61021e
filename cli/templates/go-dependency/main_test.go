package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheCallerIsGreeted(t *testing.T) {
	for body, want := range map[string]string{
		"you": "Hello, you! Your name has 3 B.\n",
		"":    "Hello, world! Your name has 5 B.\n",
	} {
		answer := httptest.NewRecorder()
		handle(answer, httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if got := answer.Body.String(); got != want {
			t.Errorf("the answer to %q is %q, not %q", body, got, want)
		}
	}
}
