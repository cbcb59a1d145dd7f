// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"
)

// kubeletServer returns a server of the part of the kubelet API that kubectl logs needs.
func kubeletServer(p *provider) (*http.Server, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("make the kubelet API's certificate: %w", err)
	}
	return &http.Server{
		Handler:           api.PodHandler(api.PodHandlerConfig{GetContainerLogs: p.containerLogs}, false),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
	}, nil
}

// listenLoopback listens on a loopback address only, because the server does not authenticate its clients.
func listenLoopback(addr string) (net.Listener, int32, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	tcp := listener.Addr().(*net.TCPAddr)
	if !tcp.IP.Equal(net.ParseIP(address)) {
		listener.Close()
		return nil, 0, fmt.Errorf("--listen=%s: the kubelet API must listen on %s, where kube-apiserver looks for it", addr, address)
	}
	return listener, int32(tcp.Port), nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "localnode"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.ParseIP(address)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
