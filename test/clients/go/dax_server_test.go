package client

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-dax-go-v2/dax"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// binary returns the path of stator, for tests that start and kill servers of their own.
func binary(t *testing.T) string {
	t.Helper()
	b := os.Getenv("STATOR_BINARY")
	if b == "" {
		t.Fatal("STATOR_BINARY is not set")
	}
	return b
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve starts a server and waits until it is ready.
func serve(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t), append([]string{"serve"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "is ready at") {
		t.Fatalf("the server said %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd
}

// TestDAXRestart kills the server under load, several times. One client lives through all of it with the attribute list ids that it has
// learned. Acknowledged writes must be there under the right names.
func TestDAXRestart(t *testing.T) {
	httpAddr, daxAddr, dir := freeAddr(t), freeAddr(t), t.TempDir()
	args := []string{"--listen", httpAddr, "--dax-listen", daxAddr, "--data-dir", dir}
	server := serve(t, args...)
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	sdk := client("http://"+httpAddr, "test", "test")
	t.Setenv("STATOR_RESTARTED_DAX", "dax://"+daxAddr)
	db := daxClient(t, "STATOR_RESTARTED_DAX", "test", "test")
	_, table := daxTables(t, sdk)

	const writers = 8
	var acknowledged [writers]atomic.Int64 // last number put by each writer
	var stop, all = make(chan struct{}), sync.WaitGroup{}
	var puts, gets, failed atomic.Int64
	for w := range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			name := fmt.Sprintf("attribute-%d", w)
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := keyOf(fmt.Sprint("w", w), "1")
				_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(key, item{name: num(strconv.FormatInt(n, 10)), fmt.Sprint("more", n%5): str("x")})})
				if err != nil {
					failed.Add(1)
					time.Sleep(10 * time.Millisecond)
					continue
				}
				acknowledged[w].Store(n)
				puts.Add(1)
				out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key})
				if err != nil {
					failed.Add(1)
					continue
				}
				gets.Add(1)
				if v, ok := out.Item[name].(*types.AttributeValueMemberN); !ok || v.Value != strconv.FormatInt(n, 10) {
					t.Errorf("writer %d put %d and read %v", w, n, out.Item)
					return
				}
			}
		}()
	}
	more := func(n *atomic.Int64, by int64) {
		t.Helper()
		for until, want := time.Now().Add(30*time.Second), n.Load()+by; n.Load() < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Error("the client does not go on")
				return
			}
		}
	}
	for range 4 {
		more(&gets, 500)
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait()
		server = serve(t, args...)
	}
	more(&gets, 500)
	close(stop)
	all.Wait()
	for w := range writers {
		name := fmt.Sprintf("attribute-%d", w)
		out, err := sdk.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: keyOf(fmt.Sprint("w", w), "1"), ConsistentRead: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		v, ok := out.Item[name].(*types.AttributeValueMemberN)
		if !ok {
			t.Errorf("writer %d: %v", w, out.Item)
			continue
		}
		if n, err := strconv.ParseInt(v.Value, 10, 64); err != nil || n < acknowledged[w].Load() {
			t.Errorf("writer %d: %d is there, %d was acknowledged", w, n, acknowledged[w].Load())
		}
	}
	t.Logf("%d puts and %d gets, %d failed", puts.Load(), gets.Load(), failed.Load())
}

// TestDAXOverTLS connects to daxs:// with a certificate created by the test.
func TestDAXOverTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stator"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: private}}
	for name, block := range files {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	httpAddr, daxAddr := freeAddr(t), freeAddr(t)
	server := serve(t, "--listen", httpAddr, "--in-memory", "--dax-tls-listen", daxAddr, "--dax-tls-cert", filepath.Join(dir, "cert.pem"), "--dax-tls-key", filepath.Join(dir, "key.pem"))
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	sdk := client("http://"+httpAddr, "test", "test")
	_, table := daxTables(t, sdk)
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "cert.pem")) // works because nothing in this process has used TLS before
	cfg := dax.DefaultConfig()
	cfg.HostPorts = []string{"daxs://" + daxAddr}
	cfg.Region = "us-east-1"
	cfg.Credentials = credentials.NewStaticCredentialsProvider("test", "test", "")
	db, err := dax.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: with(keyOf("a", "1"), everything)}); err != nil {
		t.Fatal(err)
	}
	out, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: keyOf("a", "1")})
	if err != nil || len(out.Item) != len(everything)+2 {
		t.Errorf("got %v, %v", out, err)
	}
}
