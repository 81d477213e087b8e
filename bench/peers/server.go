// What metabind is compared with: net/http doing the same job without TPM, policy and audit.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

type callerKey struct{}

var (
	key     = make([]byte, 32)
	answers = map[string]string{}
	reads   atomic.Int64
)

const path = "/latest/meta-data/instance-id"

// A token is expiry, uid, a random part and the MAC over them.
func makeToken(uid uint32, ttl int) string {
	token := make([]byte, 28, 60)
	binary.BigEndian.PutUint64(token, uint64(time.Now().Unix()+int64(ttl)))
	binary.BigEndian.PutUint32(token[8:], uid)
	rand.Read(token[12:])
	return base64.RawURLEncoding.EncodeToString(append(token, macOf(token)...))
}

func macOf(claims []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(claims)
	return mac.Sum(nil)
}

func isGood(text string, uid uint32) bool {
	token, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(token) != 60 || !hmac.Equal(token[28:], macOf(token[:28])) {
		return false
	}
	expiry := int64(binary.BigEndian.Uint64(token))
	return expiry > time.Now().Unix() && binary.BigEndian.Uint32(token[8:]) == uid
}

func answer(w http.ResponseWriter, r *http.Request) {
	uid, known := r.Context().Value(callerKey{}).(uint32)
	forwarded := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("Via") != ""
	if !known || forwarded {
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		ttl, err := strconv.Atoi(r.Header.Get("X-aliyun-ecs-metadata-token-ttl-seconds"))
		if err != nil || ttl < 1 || ttl > 21600 {
			http.Error(w, "lifetime", http.StatusBadRequest)
			return
		}
		w.Write([]byte(makeToken(uid, ttl)))
		return
	}
	if !isGood(r.Header.Get("X-aliyun-ecs-metadata-token"), uid) {
		http.Error(w, "token", http.StatusUnauthorized)
		return
	}
	body, found := answers[r.URL.Path]
	if !found {
		http.NotFound(w, r)
		return
	}
	reads.Add(1)
	w.Write([]byte(body))
}

func peerOf(ctx context.Context, connection net.Conn) context.Context {
	raw, err := connection.(*net.UnixConn).SyscallConn()
	if err != nil {
		return ctx
	}
	raw.Control(func(descriptor uintptr) {
		caller, err := syscall.GetsockoptUcred(int(descriptor), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			ctx = context.WithValue(ctx, callerKey{}, caller.Uid)
		}
	})
	return ctx
}

// SOCKET FILE: answers one path with what is in the file.
func main() {
	rand.Read(key)
	body, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	answers[path] = string(body)
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := http.Server{Handler: http.HandlerFunc(answer), ConnContext: peerOf, IdleTimeout: 75 * time.Second}
	panic(server.Serve(listener))
}
