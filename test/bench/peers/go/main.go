// Command peer is what one would write in Go: a look-up of SHA-256 digests in a map, either in front of
// httputil.ReverseProxy (MODE=proxy) or as a bare authorizer for auth_request (MODE=authorizer).
package main

import (
	"bufio"
	"crypto/sha256"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *bufferPool) Put(x []byte) { b.pool.Put(&x) }

func main() {
	keys := map[[32]byte]struct{}{}
	file, err := os.Open(os.Getenv("KEYS_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		keys[sha256.Sum256(lines.Bytes())] = struct{}{}
	}
	allowed := func(r *http.Request) bool {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		_, known := keys[sha256.Sum256([]byte(key))]
		return known && strings.EqualFold(scheme, "bearer")
	}
	pass := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	if os.Getenv("MODE") == "proxy" {
		upstream, err := url.Parse(os.Getenv("UPSTREAM"))
		if err != nil {
			log.Fatal(err)
		}
		pass = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(upstream)
				r.Out.Header.Del("Authorization")
				r.Out.Header.Set("X-Key", "known")
			},
			BufferPool: &bufferPool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}},
			Transport:  &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
		}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allowed(r) {
			// Without a body: nginx drops the connection of an auth_request whose answer has one.
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		pass.ServeHTTP(w, r)
	})
	log.Fatal((&http.Server{Addr: os.Getenv("LISTEN"), Handler: handler, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe())
}
