// A small server that finishes what it has begun: on SIGTERM it refuses new connections, and exits when the last
// running request is answered.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/up", up)
	mux.HandleFunc("/report", report)
	mux.HandleFunc("/", hello)
	server := &http.Server{Addr: os.Getenv("ADDRESS"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-told.Done():
	}

	// ListenAndServe returns at once now, and main must not: Shutdown waits for the requests that run.
	limit, cancel := context.WithTimeout(context.Background(), 25*time.Second) // less than stop.timeout, 30 s
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		log.Fatal(err)
	}
}

// up is what the health check asks for. Look here at what the app cannot do without, such as its database.
func up(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "ok\n")
}

// report stands for work that takes seconds.
func report(w http.ResponseWriter, r *http.Request) {
	time.Sleep(2 * time.Second)
	hello(w, r)
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Version", os.Getenv("SUBSTITUTE_COMMIT"))
	if r.Method == http.MethodPost {
		io.Copy(w, r.Body)
		return
	}
	io.WriteString(w, "hello from go\n")
}
