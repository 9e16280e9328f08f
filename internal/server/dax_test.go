package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/dax/wire"
)

// daxMethods are the methods of the DAX protocol, with their IDs and the number of values that follow the status in an answer.
var daxMethods = map[string]struct {
	id     int64
	answer int
}{
	"endpoints": {455855874, 1}, "defineKeySchema": {-742646399, 1}, "defineAttributeListId": {-1230579644, 1},
	"defineAttributeList": {670678385, 1}, "getItem": {263244906, 1}, "putItem": {-2106490455, 1}, "updateItem": {1425579023, 1},
	"deleteItem": {1013539361, 1}, "batchGetItem": {-697851100, 2}, "batchWriteItem": {116217951, 3}, "query": {-931250863, 1},
	"scan": {-1875390620, 1}, "transactGetItems": {1866287579, 1}, "transactWriteItems": {-1160037738, 1}, "createTable": {-313431286, 1},
}

// daxConn is a DAX client that works on the bytes of the protocol.
type daxConn struct {
	t testing.TB
	net.Conn
	framed bool
	table  string // used by put and get
	in     []byte // bytes received that no answer has consumed yet
}

// dialDAX opens a connection and sends the handshake.
func dialDAX(t testing.TB, addr string, layering int64) *daxConn {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(addr, "dax://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &daxConn{t: t, Conn: nc, framed: layering == 1, table: daxTable}
	c.write(daxPreamble(layering))
	return c
}

func daxPreamble(layering int64) []byte {
	out := wire.AppendText(nil, "J7yne5G")
	out = wire.AppendInt(out, layering)
	out = wire.AppendText(out, "0")
	out = wire.AppendText(wire.AppendText(wire.AppendMap(out, 1), "UserAgent"), "test")
	return wire.AppendInt(out, 0)
}

func (c *daxConn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// daxAuthorization returns an authorization that is signed as AWS documents it ("Create a signed AWS API request").
func daxAuthorization(key, secret, host string, at time.Time) []byte {
	stamp := at.UTC().Format("20060102T150405Z")
	hash := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	sign := func(key []byte, s string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(s))
		return h.Sum(nil)
	}
	scope := stamp[:8] + "/us-east-1/dax/aws4_request"
	canonical := "POST\n/\n\nhost:" + host + "\nx-amz-date:" + stamp + "\n\nhost;x-amz-date\n" + hash("")
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hash(canonical)
	k := sign(sign(sign(sign([]byte("AWS4"+secret), stamp[:8]), "us-east-1"), "dax"), "aws4_request")
	out := wire.AppendInt(wire.AppendInt(nil, 1), 1489122155)
	out = wire.AppendText(out, key)
	out = wire.AppendText(out, hex.EncodeToString(sign(k, text)))
	out = wire.AppendBytes(out, []byte(text))
	return wire.AppendText(wire.AppendNull(out), "test")
}

// daxRequest returns the bytes of a request.
func daxRequest(method string, values ...[]byte) []byte {
	return append(wire.AppendInt(wire.AppendInt(nil, 1), daxMethods[method].id), bytes.Join(values, nil)...)
}

// daxAnswer is an answer: an error, or the bytes that follow the status.
type daxAnswer struct {
	codes         []int64
	message, name string
	status        int64
	reasons       []byte
	payload       []byte
}

// String returns the code sequence and name of an error, e.g. "4.37.38.39.46 ValidationException".
func (a *daxAnswer) String() string {
	var codes []string
	for _, c := range a.codes {
		codes = append(codes, strconv.FormatInt(c, 10))
	}
	return strings.TrimSpace(strings.Join(codes, ".") + " " + a.name)
}

// call sends a request and returns the answer.
func (c *daxConn) call(method string, values ...[]byte) *daxAnswer {
	c.t.Helper()
	c.write(daxRequest(method, values...))
	a, err := c.receive(daxMethods[method].answer)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return a
}

// must is call for requests that must not fail.
func (c *daxConn) must(method string, values ...[]byte) *wire.Reader {
	c.t.Helper()
	a := c.call(method, values...)
	if a.codes != nil {
		c.t.Fatalf("%s: %v: %s", method, a, a.message)
	}
	return wire.NewReader(a.payload)
}

// receive reads an answer, which has the given number of values unless it is an error.
func (c *daxConn) receive(values int) (*daxAnswer, error) {
	a := &daxAnswer{}
	status, err := c.values(1)
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(status)
	for n := r.Array(); r.Next(&n); {
		a.codes = append(a.codes, r.Int())
	}
	if a.codes == nil {
		a.payload, err = c.values(values)
		return a, err
	}
	rest, err := c.values(2)
	if err != nil {
		return nil, err
	}
	r = wire.NewReader(rest)
	a.message = string(r.Text())
	n := r.Array()
	if id := r.Text(); len(id) != 52 {
		c.t.Errorf("request id %q", id)
	}
	a.name, a.status = string(r.Text()), r.Int()
	if n == 4 {
		a.reasons = r.Skip()
	}
	if r.Err() != nil || r.More() {
		c.t.Errorf("an error that can't be read: %x", rest)
	}
	return a, nil
}

// values reads n values and returns their bytes.
func (c *daxConn) values(n int) ([]byte, error) {
	var s wire.Skimmer
	for n > 0 {
		whole, err := s.Value(c.in)
		if err != nil {
			return nil, err
		}
		if whole {
			n--
			s.Reset(s.Pos())
			continue
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	out := c.in[:s.Pos()]
	c.in = c.in[s.Pos():]
	return out, nil
}

// more reads more bytes, or the next frame.
func (c *daxConn) more() error {
	if !c.framed {
		buf := make([]byte, 64<<10)
		n, err := c.Read(buf)
		c.in = append(c.in, buf[:n]...)
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if head[4] != 1 || head[5]|head[6]|head[7] != 0 {
		c.t.Errorf("frame header %x", head)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-8)
	_, err := io.ReadFull(c, body)
	c.in = append(c.in, body...)
	return err
}

// closed fails unless the server closes the connection without sending another byte.
func (c *daxConn) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c); len(b)+len(c.in) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("got %x %x, %v", c.in, b, err)
	}
}

// listID returns the ID of an attribute list.
func (c *daxConn) listID(names ...string) int64 {
	c.t.Helper()
	out := wire.AppendArray(nil, len(names))
	for _, n := range names {
		out = wire.AppendText(out, n)
	}
	return c.must("defineAttributeListId", out).Int()
}

// content encodes an item without its key.
func content(id int64, values ...attribute.Value) []byte {
	out := wire.AppendInt(nil, id)
	for _, v := range values {
		out = wire.AppendValue(out, v)
	}
	return wire.AppendBytes(nil, out)
}

func text(s string) []byte { return wire.AppendBytes(nil, []byte(s)) }

// options encodes optional parameters, given as pairs of number and value.
func options(pairs ...any) []byte {
	out := wire.BeginMap(nil)
	for i := 0; i < len(pairs); i += 2 {
		out = wire.AppendInt(out, int64(pairs[i].(int)))
		switch v := pairs[i+1].(type) {
		case int:
			out = wire.AppendInt(out, int64(v))
		case []byte:
			out = append(out, v...)
		}
	}
	return wire.AppendEnd(out)
}

// put stores an item of the table whose attribute x is a string.
func (c *daxConn) put(key, x string) {
	c.t.Helper()
	c.must("putItem", text(c.table), text(key), content(c.listID("x"), attribute.String(x)), options())
}

// get returns the attribute x of an item; "nothing" if there is no item.
func (c *daxConn) get(key string, opts ...any) string {
	c.t.Helper()
	r := c.must("getItem", text(c.table), text(key), options(opts...))
	if r.Null() {
		return "nothing"
	}
	for n := r.Map(); r.Next(&n); {
		if r.Int() != 0 {
			r.Skip()
			continue
		}
		_, values, err := wire.ListID(r.Bytes())
		if err != nil {
			c.t.Fatal(err)
		}
		return wire.NewReader(values).Value().Text()
	}
	return "nothing"
}

const daxTable = "Hash"

func (d *db) createDAXTable() {
	d.must("CreateTable", obj{
		"TableName": daxTable, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{{"AttributeName": "pk", "AttributeType": "S"}},
		"KeySchema": []obj{{"AttributeName": "pk", "KeyType": "HASH"}},
	})
}

func openDAXServer(t *testing.T, opt Options) (*db, string) {
	t.Helper()
	opt.DAX.Listen = "127.0.0.1:0"
	d := open(t, opt)
	return d, d.DAXURLs()[0]
}

// TestDAXConversation sends the bytes of a conversation request by request, in pieces, all at once, and framed.
func TestDAXConversation(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	plain := dialDAX(t, addr, 0)
	tcp := plain.RemoteAddr().(*net.TCPAddr)
	r := plain.must("endpoints")
	if n := r.Array(); n != 1 {
		t.Fatalf("%d endpoints", n)
	}
	endpoint := map[int64]string{}
	for n := r.Map(); r.Next(&n); {
		k := r.Int()
		endpoint[k] = fmt.Sprintf("%x", r.Skip())
	}
	for key, want := range map[int64][]byte{
		1: wire.AppendText(nil, "127.0.0.1"), 2: wire.AppendBytes(nil, []byte{127, 0, 0, 1}), 3: wire.AppendInt(nil, int64(tcp.Port)),
		4: {1}, 5: wire.AppendText(nil, "us-east-1a"),
	} {
		if endpoint[key] != fmt.Sprintf("%x", want) {
			t.Errorf("endpoint %d is %s, want %x", key, endpoint[key], want)
		}
	}
	if len(endpoint) != 7 {
		t.Errorf("%d of 7 keys: %v", len(endpoint), endpoint)
	}
	key, only := text("onlykey"), wire.AppendBytes(nil, []byte{1})
	// Examples from documentation of the protocol, byte for byte.
	conversation := []struct {
		request []byte
		answer  string
	}{
		{daxRequest("putItem", text(daxTable), key, only, options()), "80f6"},
		{daxRequest("getItem", text(daxTable), key, options()), "80bf004101ff"},
		{daxRequest("getItem", text(daxTable), text("missing"), []byte{0xf6}), "80f6"},
		{daxRequest("defineKeySchema", text(daxTable)), "80a1" + "62706b6153"},
		{daxRequest("defineAttributeListId", []byte{0x80}), "8001"},
		{daxRequest("defineAttributeList", []byte{1}), "8080"},
		{daxRequest("deleteItem", text(daxTable), key, options(7, 2)), "80bf024101ff"},
		{daxRequest("deleteItem", text(daxTable), key, options(7, 2)), "80f6"},
		{daxRequest("scan", text(daxTable), options()), "80bf0780" + "0800" + "0a00" + "ff"},
		{daxRequest("batchGetItem", unhex("a1"+hex.EncodeToString(wire.AppendText(nil, daxTable))+"83f4f681"+hex.EncodeToString(key)), options()), "8082a1" + hex.EncodeToString(wire.AppendText(nil, daxTable)) + "80a080"},
		{daxRequest("batchWriteItem", unhex("a1"+hex.EncodeToString(wire.AppendText(nil, daxTable))+"82"+hex.EncodeToString(key)+"4101"), options()), "80a080a0"},
	}
	exchange := func(name string, c *daxConn, send func(b []byte)) {
		for _, step := range conversation {
			send(step.request)
			want := unhex(step.answer)
			for len(c.in) < len(want) {
				if err := c.more(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(c.in, want) {
				t.Errorf("%s: %x is answered %x, want %x", name, step.request, c.in, want)
			}
			c.in = nil
		}
	}
	clear := func() { d.must("DeleteItem", obj{"TableName": daxTable, "Key": obj{"pk": obj{"S": "onlykey"}}}) }
	fresh := func(layering int64) *daxConn {
		clear()
		d.Server.dax.base.Caches.Clear()
		return dialDAX(t, addr, layering)
	}
	c := fresh(0)
	exchange("plain", c, c.write)
	c = fresh(1)
	exchange("framed", c, c.write)
	c = fresh(0)
	exchange("byte by byte", c, func(b []byte) {
		for i := range b {
			c.write(b[i : i+1])
			if i%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	// Send all requests at once, before reading any answer.
	c = fresh(0)
	var all, want []byte
	for _, step := range conversation {
		all, want = append(all, step.request...), append(want, unhex(step.answer)...)
	}
	c.write(all)
	for len(c.in) < len(want) {
		if err := c.more(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(c.in, want) {
		t.Errorf("at once: got %x, want %x", c.in, want)
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// TestDAXErrors checks errors, and whether the connection survives them.
func TestDAXErrors(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	key := text("k")
	for _, e := range []struct {
		method string
		values [][]byte
		want   string
	}{
		{"defineKeySchema", [][]byte{text("nowhere")}, "4.23.24 ResourceNotFoundException"},
		{"getItem", [][]byte{text("nowhere"), key, options()}, "4.37.38.39.41 ResourceNotFoundException"},
		{"getItem", [][]byte{text("no"), key, options()}, "4.37.38.39.46 ValidationException"},
		{"getItem", [][]byte{text(daxTable), text(""), options()}, "4.37.38.39.46 ValidationException"},
		{"getItem", [][]byte{text(daxTable), text("\xff"), options()}, "4.37.38.39.46 ValidationException"},
		{"putItem", [][]byte{text(daxTable), key, content(123456789, attribute.True), options()}, "4.37.38.39.46 ValidationException"},
		{"putItem", [][]byte{text(daxTable), key, text("\x01"), options(4, text("\x83\x01\x82\x0b\x82\x12\x62pk\x80"))}, "4.37.38.39.43 ConditionalCheckFailedException"},
		{"putItem", [][]byte{text(daxTable), key, content(c.listID("x"), attribute.String(strings.Repeat("x", 400<<10))), options()}, "4.37.38.39.46 ValidationException"},
		{"defineAttributeList", [][]byte{wire.AppendInt(nil, 77)}, "4.37.38.39.46 ValidationException"},
		{"defineAttributeListId", [][]byte{unhex("8261616161")}, "4.37.38.39.46 ValidationException"},
		{"defineAttributeListId", [][]byte{unhex("8160")}, "4.37.38.39.46 ValidationException"},
		{"query", [][]byte{text(daxTable), text("\x83\x01\x83\x00\x82\x12\x61x\x82\x11\x00\x81\x01"), options()}, "4.37.38.39.46 ValidationException"},
		{"scan", [][]byte{text(daxTable), options(16, 3, 17, 2)}, "4.37.38.39.46 ValidationException"},
		{"batchGetItem", [][]byte{{0xa0}, options()}, "4.37.38.39.46 ValidationException"},
		{"batchWriteItem", [][]byte{{0xa0}, options()}, "4.37.38.39.46 ValidationException"},
		{"transactGetItems", [][]byte{{0x80}, {0x80}, {0xf6}, options()}, "4.37.38.39.46 ValidationException"},
		{"transactWriteItems", [][]byte{{0x80}, {0x80}, {0x80}, {0xf6}, {0xf6}, {0xf6}, {0xf6}, {0xf6}, options()}, "4.37.38.39.46 ValidationException"},
	} {
		if a := c.call(e.method, e.values...); a.String() != e.want || a.status != 400 || a.message == "" {
			t.Errorf("%s: %v, %d, %q, want %s", e.method, a, a.status, a.message, e.want)
		}
	}
	if c.put("k", "v"); c.get("k") != "v" {
		t.Error("the connection does not go on")
	}
	// Clients may list attributes in any order.
	c.must("putItem", text(daxTable), key, content(c.listID("z", "a"), attribute.String("of z"), attribute.String("of a")), options())
	if it := d.must("GetItem", obj{"TableName": daxTable, "Key": obj{"pk": obj{"S": "k"}}})["Item"].(obj); it["z"].(obj)["S"] != "of z" || it["a"].(obj)["S"] != "of a" {
		t.Errorf("got %v", it)
	}
	// Malformed input ends the connection, but it is answered first.
	for name, e := range map[string]struct {
		bytes []byte
		want  string
	}{
		"no CBOR":               {unhex("01ff"), "4.37.38.39.46 ValidationException"},
		"another service":       {unhex("0201"), "4.37.38.44 NotImplementedException"},
		"a method of no shape":  {daxRequest("createTable"), "4.37.38.44 NotImplementedException"},
		"an endless string":     {append(daxRequest("getItem"), unhex("5bffffffffffffffff")...), "4.37.38.39.46 RequestEntityTooLargeException"},
		"an endless array":      {append(daxRequest("defineAttributeListId"), unhex("9bffffffffffffffff")...), "4.37.38.39.46 RequestEntityTooLargeException"},
		"deep nesting":          {append(daxRequest("defineAttributeListId"), bytes.Repeat([]byte{0x81}, 1000)...), "4.37.38.39.46 ValidationException"},
		"text for bytes":        {daxRequest("getItem", unhex("6148"), key, options()), "4.37.38.39.46 ValidationException"},
		"options of no map":     {daxRequest("getItem", text(daxTable), key, []byte{0x05}), "4.37.38.39.46 ValidationException"},
		"no such enumeration":   {daxRequest("getItem", text(daxTable), key, options(3, 9)), "4.37.38.39.46 ValidationException"},
		"item of a bad value":   {daxRequest("putItem", text(daxTable), key, text("\x01\x00"), options()), "4.37.38.39.46 ValidationException"},
		"expression of nothing": {daxRequest("putItem", text(daxTable), key, text("\x01"), options(4, text("\x80"))), "4.37.38.39.46 ValidationException"},
		"lists of other lengths": {
			daxRequest("transactGetItems", unhex("8144"+hex.EncodeToString([]byte(daxTable))), []byte{0x80}, []byte{0xf6}, options()), "4.37.38.39.46 ValidationException",
		},
		"no such operation": {
			daxRequest("transactWriteItems", unhex("8105"), unhex("8144"+hex.EncodeToString([]byte(daxTable))), unhex("81416b"), []byte{0xf6}, []byte{0xf6}, []byte{0xf6}, []byte{0xf6}, []byte{0xf6}, options()),
			"4.37.38.39.46 ValidationException",
		},
	} {
		for layering := range int64(2) {
			c := dialDAX(t, addr, layering)
			c.write(e.bytes)
			if a, err := c.receive(0); err != nil || a.String() != e.want {
				t.Errorf("%s: %v, %v", name, a, err)
			}
			c.closed()
		}
	}
	for name, b := range map[string][]byte{
		"another magic":    append(wire.AppendText(nil, "J7yne5H"), daxPreamble(0)[8:]...),
		"another layering": daxPreamble(2),
		"HTTP":             []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":              unhex("1603010200010001fc0303"),
	} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(addr, "dax://"))
		if err != nil {
			t.Fatal(err)
		}
		c := &daxConn{t: t, Conn: nc}
		c.write(b)
		if name != "TLS" && name != "HTTP" { // these may wait for more bytes
			_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
			c.closed()
		}
		nc.Close()
	}
}

// TestDAXLists checks that IDs of attribute lists survive a restart, and that every account has lists of its own.
func TestDAXLists(t *testing.T) {
	dir := t.TempDir()
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a","account":"111111111111"},{"accessKeyId":"B","secretAccessKey":"b","account":"222222222222"}]`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int64{}
	for round := range 2 {
		s, err := Open(Options{Listen: "127.0.0.1:0", DataDir: dir, CredentialsFile: credentials, DAX: DAXOptions{Listen: "127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		c := dialDAX(t, s.DAXURLs()[0], 0)
		c.write(daxAuthorization("A", "a", "dax.amazonaws.com", time.Now()))
		for i := range 300 {
			name := fmt.Sprintf("attribute-%d", i)
			if round == 0 {
				ids[name] = c.listID(name, name+"x")
				if other := ids[name]; other < 2 || other >= 1<<52 {
					t.Fatalf("id %d", other)
				}
				continue
			}
			// First by ID, as a client does that already knows it.
			r := c.must("defineAttributeList", wire.AppendInt(nil, ids[name]))
			if n := r.Array(); n != 2 || string(r.Text()) != name || string(r.Text()) != name+"x" {
				t.Errorf("%s is another list now", name)
			}
			if id := c.listID(name, name+"x"); id != ids[name] {
				t.Errorf("%s has the ids %d and %d", name, ids[name], id)
			}
		}
		other := dialDAX(t, s.DAXURLs()[0], 0)
		other.write(daxAuthorization("B", "b", "dax.amazonaws.com", time.Now()))
		if a := other.call("defineAttributeList", wire.AppendInt(nil, ids["attribute-7"])); a.codes == nil {
			t.Errorf("another account reads the list")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDAXAuthorization checks who may send requests if credentials are configured, and for how long an authorization is valid.
func TestDAXAuthorization(t *testing.T) {
	clock := newMovedClock()
	credentials := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a","account":"111111111111"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, addr := openDAXServer(t, Options{CredentialsFile: credentials, Now: clock.Now})
	scan := [][]byte{text("nowhere"), options()}
	const allowed = "4.37.38.39.41 ResourceNotFoundException"
	for name, c := range map[string]struct {
		key, secret, host string
		at                time.Time
		want              string
	}{
		"Go's host":      {"A", "a", "https://dax.amazonaws.com", clock.Now(), allowed},
		"others' host":   {"A", "a", "dax.amazonaws.com", clock.Now(), allowed},
		"another host":   {"A", "a", "example.com", clock.Now(), "4.23.31.33 InvalidSignatureException"},
		"another secret": {"A", "b", "dax.amazonaws.com", clock.Now(), "4.23.31.33 InvalidSignatureException"},
		"an unknown key": {"B", "a", "dax.amazonaws.com", clock.Now(), "4.23.31.32 UnrecognizedClientException"},
		"old":            {"A", "a", "dax.amazonaws.com", clock.Now().Add(-16 * time.Minute), "4.23.31.33 InvalidSignatureException"},
		"of the future":  {"A", "a", "dax.amazonaws.com", clock.Now().Add(16 * time.Minute), "4.23.31.33 InvalidSignatureException"},
	} {
		conn := dialDAX(t, addr, 0)
		conn.write(daxAuthorization(c.key, c.secret, c.host, c.at))
		if a := conn.call("scan", scan...); a.String() != c.want {
			t.Errorf("%s: %v, want %s", name, a, c.want)
		}
		if a := conn.call("endpoints"); (a.codes == nil) != (c.want == allowed) {
			t.Errorf("%s: endpoints: %v", name, a)
		}
	}
	c := dialDAX(t, addr, 0)
	const unknown = "4.23.31.33 MissingAuthenticationTokenException"
	for _, method := range []string{"scan", "endpoints"} {
		values := scan
		if method == "endpoints" {
			values = nil
		}
		if a := c.call(method, values...); a.String() != unknown {
			t.Errorf("without an authorization: %v", a)
		}
	}
	// The connection survives, and so it does when the authorization expires again.
	for range 2 {
		c.write(daxAuthorization("A", "a", "dax.amazonaws.com", clock.Now()))
		if a := c.call("scan", scan...); a.String() != allowed {
			t.Errorf("authorized: %v", a)
		}
		clock.Advance(16 * time.Minute)
		if a := c.call("scan", scan...); a.String() != unknown {
			t.Errorf("after 16 minutes: %v", a)
		}
	}
	// Unauthenticated clients must not be able to fill the server's memory.
	c = dialDAX(t, addr, 0)
	c.write(append(daxRequest("getItem"), unhex("5a00a00000")...))
	_, _ = c.Write(make([]byte, 100_000))
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server waits for ten megabytes of a stranger")
	}
}

// openTwoAccounts opens a server with keys A and B of different accounts. The table belongs to A's account.
func openTwoAccounts(t *testing.T, opt Options) (d *db, addr string) {
	t.Helper()
	dir := t.TempDir()
	credentials := filepath.Join(dir, "credentials.json")
	err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"a"},{"accessKeyId":"B","secretAccessKey":"b","account":"222222222222"}]`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	opt.DataDir = filepath.Join(dir, "data")
	d = open(t, Options{DataDir: opt.DataDir})
	d.createDAXTable()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	opt.CredentialsFile = credentials
	return openDAXServer(t, opt)
}

// daxCall is a request to a table, and the action that it takes there.
type daxCall struct {
	method, action string
	values         [][]byte
}

// daxCalls returns requests of all methods to the table of a name. id is that of the attribute list of x.
func daxCalls(name string, id int64) []daxCall {
	batch := wire.AppendText(wire.AppendMap(nil, 1), name)
	item := content(id, attribute.String("v"))
	one := func(b []byte) []byte { return append(unhex("81"), b...) }
	transact := func(operation byte, item, update []byte) [][]byte {
		return [][]byte{{0x81, operation}, one(text(name)), one(text("k")), item, unhex("f6f6f6"), update, options()}
	}
	update := text("\x83\x01\x81\x83\x13\x82\x12\x61x\x82\x11\x00\x81\x01")
	return []daxCall{
		{"defineKeySchema", "DescribeTable", [][]byte{text(name)}},
		{"getItem", "GetItem", [][]byte{text(name), text("k"), options()}},
		{"getItem", "GetItem", [][]byte{text(name), text("k"), options(2, 1)}},
		{"putItem", "PutItem", [][]byte{text(name), text("k"), item, options()}},
		{"updateItem", "UpdateItem", [][]byte{text(name), text("k"), options(8, update)}},
		{"deleteItem", "DeleteItem", [][]byte{text(name), text("k"), options()}},
		{"query", "Query", [][]byte{text(name), text("\x83\x01\x83\x00\x82\x12\x62pk\x82\x11\x00\x81\x61k"), options()}},
		{"scan", "Scan", [][]byte{text(name), options()}},
		{"batchGetItem", "BatchGetItem", [][]byte{batch, unhex("83f4f681"), text("k"), options()}},
		{"batchWriteItem", "BatchWriteItem", [][]byte{batch, unhex("82"), text("k"), item, options()}},
		{"transactGetItems", "GetItem", [][]byte{one(text(name)), one(text("k")), unhex("f6"), options()}},
		{"transactWriteItems", "PutItem", transact(2, one(item), unhex("f6"))},
		{"transactWriteItems", "DeleteItem", transact(7, unhex("f6"), unhex("f6"))},
		{"transactWriteItems", "UpdateItem", transact(9, unhex("f6"), one(update))},
		{"transactWriteItems", "ConditionCheckItem", transact(12, unhex("f6"), unhex("f6"))},
	}
}

// TestDAXAccounts lets another account name the first one's table by ARN, in every method, while its items are cached. Every
// answer is AWS's refusal, for tables that do not exist too.
func TestDAXAccounts(t *testing.T) {
	_, addr := openTwoAccounts(t, Options{})
	own, other := dialDAX(t, addr, 0), dialDAX(t, addr, 0)
	own.write(daxAuthorization("A", "a", "dax.amazonaws.com", time.Now()))
	other.write(daxAuthorization("B", "b", "dax.amazonaws.com", time.Now()))
	own.put("k", "secret")
	if got := own.get("k"); got != "secret" { // now it is cached
		t.Fatalf("got %s", got)
	}
	own.must("scan", text(daxTable), options())
	id := other.listID("x")
	for _, table := range []string{daxTable, "Absent"} {
		name := "arn:aws:dynamodb:us-east-1:000000000000:table/" + table
		for _, c := range daxCalls(name, id) {
			a := other.call(c.method, c.values...)
			if a.String() != "4.37.38.42 AccessDeniedException" || !strings.Contains(a.message, "dynamodb:"+c.action+" on resource: "+name) {
				t.Errorf("%s of %s: %v: %s", c.method, table, a, a.message)
			}
		}
	}
	if got := own.get("k"); got != "secret" {
		t.Errorf("the item is %s", got)
	}
	// By its bare name the table does not exist for the other account, and attribute lists are not shared.
	if a := other.call("getItem", text(daxTable), text("k"), options()); a.String() != "4.37.38.39.41 ResourceNotFoundException" {
		t.Errorf("another account's table by its name: %v", a)
	}
	secret := own.listID("secret")
	if a := other.call("defineAttributeList", wire.AppendInt(nil, secret)); a.codes == nil {
		t.Error("another account's attribute list is told")
	}
	// After switching to the other key, the same connection sees nothing of the first account.
	own.write(daxAuthorization("B", "b", "dax.amazonaws.com", time.Now()))
	if a := own.call("getItem", text(daxTable), text("k"), options()); a.String() != "4.37.38.39.41 ResourceNotFoundException" {
		t.Errorf("with another key: %v", a)
	}
	if a := own.call("defineAttributeList", wire.AppendInt(nil, secret)); a.codes == nil {
		t.Error("with another key the attribute list is told")
	}
	// The same holds for a connection whose authorization was refused.
	own.write(daxAuthorization("A", "a", "dax.amazonaws.com", time.Now()))
	own.must("defineAttributeList", wire.AppendInt(nil, secret))
	own.write(daxAuthorization("A", "wrong", "dax.amazonaws.com", time.Now()))
	if a := own.call("defineAttributeList", wire.AppendInt(nil, secret)); a.String() != "4.23.31.33 InvalidSignatureException" {
		t.Errorf("after a refused authorization: %v", a)
	}
}

// TestDAXSameNames uses equally named tables of two accounts. Neither account gets what the other has cached, by name or by
// ARN.
func TestDAXSameNames(t *testing.T) {
	a, b := strangers(t, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	conns := map[string]*daxConn{}
	for _, c := range []account{a, b} {
		c.must("CreateTable", obj{"TableName": daxTable, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk")})
		conn := dialDAX(t, c.server.DAXURLs()[0], 0)
		conn.write(daxAuthorization(c.key, c.secret, "dax.amazonaws.com", time.Now()))
		conn.put("k", "of "+c.key)
		conns[c.key] = conn
	}
	for range 2 { // first from the table, then from the cache
		for _, c := range []account{a, b} {
			conn, other := conns[c.key], map[string]account{"A": b, "B": a}[c.key]
			if got := conn.get("k"); got != "of "+c.key {
				t.Errorf("%s reads %s", c.key, got)
			}
			table := text("arn:aws:dynamodb:us-east-1:" + other.id + ":table/" + daxTable)
			for method, values := range map[string][][]byte{
				"getItem": {table, text("k"), options()}, "putItem": {table, text("k"), content(conn.listID("x"), attribute.String("stolen")), options()},
				"deleteItem": {table, text("k"), options()}, "scan": {table, options()},
			} {
				if answer := conn.call(method, values...); answer.codes == nil || answer.name != denied {
					t.Errorf("%s of %s: %v", method, c.key, answer)
				}
			}
		}
	}
}

// TestDAXRefill fails the read that refills the cache after a transaction. A waiting reader then reads the item itself and does
// not see the error.
func TestDAXRefill(t *testing.T) {
	d, addr := openDAXServer(t, Options{Inject: []string{"TransactGetItems:latency=200ms,error=1"}})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	one := func(b []byte) []byte { return append([]byte{0x81}, b...) }
	null := []byte{0xf6}
	for range 3 {
		c.must("transactWriteItems", unhex("8102"), one(text(daxTable)), one(text("k")), one(content(c.listID("x"), attribute.String("v"))), null, null, null, null, options())
		if got := c.get("k"); got != "v" {
			t.Errorf("got %s", got)
		}
	}
}

// TestDAXExpiry checks that the caches keep entries as long as the TTL options say.
func TestDAXExpiry(t *testing.T) {
	around := func(d *db, x string) {
		d.must("PutItem", obj{"TableName": daxTable, "Item": obj{"pk": obj{"S": "k"}, "x": obj{"S": x}}})
	}
	count := func(c *daxConn) (count int64) {
		r := c.must("scan", text(daxTable), options(15, 3))
		for n := r.Map(); r.Next(&n); {
			if r.Int() == 8 {
				count = r.Int()
			} else {
				r.Skip()
			}
		}
		return count
	}
	for _, o := range []struct {
		item, query         time.Duration
		itemLasts, queryFor time.Duration
	}{
		{0, 0, 5 * time.Minute, 5 * time.Minute}, {time.Minute, 2 * time.Minute, time.Minute, 2 * time.Minute}, {-1, -1, 100 * time.Hour, 0},
	} {
		clock := newMovedClock()
		d, addr := openDAXServer(t, Options{Now: clock.Now, DAX: DAXOptions{ItemTTL: o.item, QueryTTL: o.query}})
		d.createDAXTable()
		c := dialDAX(t, addr, 0)
		around(d, "1")
		if got, n := c.get("k"), count(c); got != "1" || n != 1 {
			t.Errorf("got %s, %d", got, n)
		}
		around(d, "2")
		d.must("PutItem", obj{"TableName": daxTable, "Item": obj{"pk": obj{"S": "another"}}})
		for _, step := range []time.Duration{0, time.Minute - time.Second, time.Second, time.Minute, 3*time.Minute - time.Second, time.Second, 90 * time.Hour} {
			clock.Advance(step)
			gone := clock.Now().Sub(newMovedClock().Now())
			wantItem, wantCount := "1", int64(1)
			if gone >= o.itemLasts {
				wantItem = "2"
			}
			if gone >= o.queryFor {
				wantCount = 2
			}
			if got, n := c.get("k"), count(c); got != wantItem || n != wantCount {
				t.Errorf("%v, %v: after %v got %s, %d, want %s, %d", o.item, o.query, gone, got, n, wantItem, wantCount)
			}
		}
	}
}

// TestDAXQueryCache checks that the order of parameters and ReturnConsumedCapacity do not affect a query's cache key, and that
// everything else does.
func TestDAXQueryCache(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	scan := func(pairs ...any) string {
		return fmt.Sprintf("%x", c.must("scan", text(daxTable), options(pairs...)).Skip())
	}
	key := text("\x83\x01\x83\x00\x82\x12\x62pk\x82\x11\x00\x81\x61k")
	query := func(pairs ...any) string {
		return fmt.Sprintf("%x", c.must("query", text(daxTable), key, options(pairs...)).Skip())
	}
	empty, none := scan(13, 5, 15, 3), query(13, 5)
	c.put("k", "v")
	for name, same := range map[string]string{
		"in another order": scan(15, 3, 13, 5), "with defaults": scan(2, 0, 3, 0, 13, 5, 15, 3), "with names": scan(1, unhex("a0"), 13, 5, 15, 3),
	} {
		if same != empty {
			t.Errorf("%s: %s", name, same)
		}
	}
	if forward := query(14, 1, 13, 5); forward != none {
		t.Errorf("forwards: %s", forward)
	}
	for name, other := range map[string]string{
		"another limit": scan(13, 6, 15, 3), "another select": scan(13, 5), "consistent": scan(2, 1, 13, 5, 15, 3), "a segment": scan(13, 5, 15, 3, 16, 0, 17, 1),
	} {
		if other == empty {
			t.Errorf("%s: %s", name, other)
		}
	}
	if backwards := query(14, 0, 13, 5); backwards == none {
		t.Errorf("backwards: %s", backwards)
	}
	// A recreated table of the same name does not share cached results.
	d.must("DeleteTable", obj{"TableName": daxTable})
	d.createDAXTable()
	if got := c.get("k"); got != "nothing" {
		t.Errorf("the item of the deleted table is still there: %s", got)
	}
}

// TestDAXMetrics checks the caches' metrics in CloudWatch and /metrics.
func TestDAXMetrics(t *testing.T) {
	clock := newMovedClock()
	d, addr := openDAXServer(t, Options{Now: clock.Now})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	c.put("k", "v")
	for range 3 {
		c.get("k")
	}
	c.get("other")
	c.get("k", 2, wire.AppendInt(nil, 1))
	for range 2 {
		c.must("scan", text(daxTable), options())
		c.must("query", text(daxTable), text("\x83\x01\x83\x00\x82\x12\x62pk\x82\x11\x00\x81\x61k"), options())
	}
	c.call("getItem", text("nowhere"), text("k"), options())
	want := map[string]float64{
		"ItemCacheHits": 3, "ItemCacheMisses": 1, "ScanCacheHits": 1, "ScanCacheMisses": 1, "QueryCacheHits": 1, "QueryCacheMisses": 1, "GetItemRequestCount": 6,
		"PutItemRequestCount": 1, "ScanRequestCount": 2, "QueryRequestCount": 2, "TotalRequestCount": 11, "ErrorRequestCount": 1, "FailedRequestCount": 1,
	}
	for name, count := range want {
		for _, dimensions := range [][]obj{
			{{"Name": "ClusterId", "Value": "stator"}}, {{"Name": "Account", "Value": "000000000000"}},
			{{"Name": "ClusterId", "Value": "stator"}, {"Name": "NodeId", "Value": "stator-a"}},
		} {
			out := d.must("GraniteServiceVersion20100801.GetMetricStatistics", obj{
				"Namespace": "AWS/DAX", "MetricName": name, "Dimensions": dimensions, "Period": 60, "Statistics": []string{"Sum"},
				"StartTime": clock.Now().Add(-time.Hour).Unix(), "EndTime": clock.Now().Add(time.Minute).Unix(),
			})
			if points := list(out["Datapoints"]); len(points) != 1 || points[0]["Sum"] != count {
				t.Errorf("%s %v: %v, want %v", name, dimensions, points, count)
			}
		}
	}
	body, err := d.metrics.Prometheus(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`stator_item_cache_hits_total{account="000000000000",region="us-east-1",cluster_id="stator",node_id="stator-a"} 3`, `stator_client_connections{`, `stator_cache_memory_utilization{`,
	} {
		if !strings.Contains(string(body), line) {
			t.Errorf("no %s", line)
		}
	}
	if n := strings.Count(string(body), "stator_item_cache_hits_total{"); n != 1 {
		t.Errorf("%d lines of one metric", n)
	}
}

// TestDAXThrottled checks what is throttled, and what a batch returns as unprocessed.
func TestDAXThrottled(t *testing.T) {
	clock := newMovedClock()
	d, addr := openDAXServer(t, Options{Now: clock.Now})
	d.must("CreateTable", obj{
		"TableName": daxTable, "ProvisionedThroughput": throughput(1, 1), "AttributeDefinitions": []obj{{"AttributeName": "pk", "AttributeType": "S"}},
		"KeySchema": []obj{{"AttributeName": "pk", "KeyType": "HASH"}},
	})
	c := dialDAX(t, addr, 0)
	id := c.listID("x")
	put := func(i int) *daxAnswer {
		return c.call("putItem", text(daxTable), text(strconv.Itoa(i)), content(id, attribute.String(strings.Repeat("x", 900))), options())
	}
	last := 0
	for ; last < 10000; last++ {
		if a := put(last); a.codes != nil {
			if a.String() != "4.37.38.39.40 ProvisionedThroughputExceededException" || a.status != 400 {
				t.Errorf("got %v", a)
			}
			break
		}
	}
	if last == 10000 {
		t.Fatal("nothing is throttled")
	}
	if got := c.get("0"); len(got) != 900 {
		t.Error("what was written is not in the cache")
	}
	// Cache hits are not throttled. Keys that miss stay unprocessed.
	for i := 0; ; i++ {
		if i == 10000 {
			t.Fatal("reads are not throttled")
		}
		if a := c.call("getItem", text(daxTable), text("missing"+strconv.Itoa(i)), options()); a.codes != nil {
			break
		}
	}
	keys := wire.AppendArray(nil, 3)
	for _, k := range []string{"0", "never", "1"} {
		keys = append(keys, text(k)...)
	}
	request := slices.Concat(wire.AppendText(wire.AppendMap(nil, 1), daxTable), unhex("83f4f6"), keys)
	a := c.call("batchGetItem", request, options())
	if a.codes == nil {
		t.Fatalf("a batch of which nothing but the cache could be read: %x", a.payload)
	}
	clock.Advance(2 * time.Second)
	for i := 0; ; i++ { // use up the replenished capacity in small steps
		if a := c.call("getItem", text(daxTable), text("again"+strconv.Itoa(i)), options()); a.codes != nil || i == 1 {
			break
		}
	}
	r := c.must("batchGetItem", request, options())
	if n := r.Array(); n != 2 {
		t.Fatal(n)
	}
	found, left := 0, 0
	for n := r.Map(); r.Next(&n); {
		r.Text()
		for m := r.Array(); r.Next(&m); found++ {
			r.Skip()
		}
	}
	for n := r.Map(); r.Next(&n); {
		r.Text()
		for m := r.Array(); r.Next(&m); left++ {
			r.Skip()
		}
	}
	if found != 4 || left > 1 {
		t.Errorf("%d values were found, %d keys are left", found, left)
	}
}

// TestDAXManyConnections runs a thousand clients at once and closes the server while they are connected.
func TestDAXManyConnections(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	conns := make([]*daxConn, 1000)
	for i := range conns {
		conns[i] = dialDAX(t, addr, int64(i%2))
	}
	var all sync.WaitGroup
	for i, c := range conns {
		all.Add(1)
		go func() {
			defer all.Done()
			key := fmt.Sprint("k", i)
			for round := range 3 {
				c.put(key, fmt.Sprint(round))
				if got := c.get(key); got != fmt.Sprint(round) {
					t.Errorf("client %d got %s in round %d", i, got, round)
				}
			}
		}()
	}
	all.Wait()
	began := time.Now()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closing took %v", took)
	}
	for _, c := range conns {
		c.closed()
	}
}

// TestDAXIdle opens far more idle connections than strangers may hold. An existing client continues, and a new one gets in,
// with TLS too. The server limits the share of one address.
func TestDAXIdle(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	friend := dialDAX(t, addr, 0)
	friend.put("k", "v")
	const idle, share = 2000, 10_000 / 8
	var conns []net.Conn
	for range idle {
		nc, err := net.Dial("tcp", strings.TrimPrefix(addr, "dax://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns = append(conns, nc)
	}
	if got := dialDAX(t, addr, 0).get("k"); got != "v" {
		t.Errorf("a new client got %s", got)
	}
	if got := friend.get("k"); got != "v" {
		t.Errorf("the client that was there got %s", got)
	}
	eventually(t, "the server keeps its share", func() bool { return d.Server.dax.base.Clients() <= share+2 })
	// The oldest ones were closed.
	if err := conns[0].SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conns[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first idle connection: %v", err)
	}
}

// TestDAXLimits exceeds every limit of AWS. Errors are the operations' own, whatever follows the excess.
func TestDAXLimits(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	repeat := func(n int, element ...byte) []byte {
		return append(wire.AppendArray(nil, n), bytes.Repeat(element, n)...)
	}
	keys := func(n, of int, more ...byte) (out []byte) {
		for i := range n {
			out = append(append(out, text(fmt.Sprintf("%05d", i))...), more...)
		}
		return append(wire.AppendArray(nil, of*n), out...)
	}
	one := wire.AppendText(wire.AppendMap(nil, 1), daxTable)
	tables := func(n int) []byte {
		return append(wire.AppendArray(nil, n), bytes.Repeat(text(daxTable), n)...)
	}
	id := c.listID("a")
	for name, e := range map[string]struct {
		method string
		values [][]byte
		want   string
	}{
		"keys":         {"batchGetItem", [][]byte{one, {0x83, 0xf4, 0xf6}, keys(50_000, 1), options()}, "Member must have length less than or equal to 100"},
		"writes":       {"batchWriteItem", [][]byte{one, keys(50_000, 2, 0xf6), options()}, "Member must have length less than or equal to 25"},
		"reads":        {"transactGetItems", [][]byte{tables(10_000), keys(10_000, 1), {0xf6}, options()}, "Member must have length less than or equal to 100"},
		"transaction":  {"transactWriteItems", [][]byte{repeat(10_000, 7), tables(10_000), keys(10_000, 1), repeat(10_000, 0xf6), {0xf6}, {0xf6}, {0xf6}, {0xf6}, options()}, "Member must have length less than or equal to 100"},
		"item":         {"putItem", [][]byte{text(daxTable), text("k"), wire.AppendBytes(nil, append([]byte{1}, make([]byte, 900<<10)...)), options()}, "Item size has exceeded"},
		"elements":     {"putItem", [][]byte{text(daxTable), text("k"), wire.AppendBytes(nil, append(wire.AppendArray(wire.AppendInt(nil, id), 700<<10), bytes.Repeat([]byte{0xf6}, 700<<10)...)), options()}, "Item size has exceeded"},
		"names":        {"defineAttributeListId", [][]byte{repeat(450_000, 0x60)}, "Item size has exceeded"},
		"a table name": {"scan", [][]byte{text("arn:aws:dynamodb:us-east-1:000000000000:table/" + daxTable + "/" + strings.Repeat("x", 2000)), options()}, "Invalid table/index name"},
		"a start key":  {"scan", [][]byte{text(daxTable), options(9, wire.AppendBytes(nil, make([]byte, 100_000)), 11, text("index"))}, "key"},
		"projection":   {"scan", [][]byte{text(daxTable), options(0, wire.AppendBytes(nil, append(append([]byte{0x82, 1}, wire.AppendArray(nil, 50_000)...), bytes.Repeat([]byte{0x82, 0x12, 0x61, 'a'}, 50_000)...)))}, "Expression size has exceeded the maximum allowed size"},
	} {
		a := c.call(e.method, e.values...)
		if a.status != 400 || !strings.Contains(a.message, e.want) {
			t.Errorf("%s: %v: %.300s", name, a, a.message)
		}
	}
	c.put("k", "v")
	if taken := d.Server.dax.base.Taken(); taken != 0 {
		t.Errorf("%d bytes are still taken", taken)
	}
}

// TestDAXHostile sends corrupted conversations. The server answers or closes the connection, and stays healthy.
func TestDAXHostile(t *testing.T) {
	var failures failureLog
	d, addr := openDAXServer(t, Options{Logger: slog.New(&failures)})
	d.createDAXTable()
	good := dialDAX(t, addr, 0)
	id := good.listID("x", "y")
	requests := [][]byte{
		daxAuthorization("A", "a", "dax.amazonaws.com", time.Now()), daxRequest("endpoints"), daxRequest("defineKeySchema", text(daxTable)), daxRequest("defineAttributeListId", unhex("8161786179")[:3]),
		daxRequest("defineAttributeList", wire.AppendInt(nil, id)), daxRequest("putItem", text(daxTable), text("k"), content(id, attribute.String("v"), attribute.Number("1.5")), options(7, 2, 3, 2)),
		daxRequest("getItem", text(daxTable), text("k"), options(0, text("\x82\x01\x81\x82\x12\x61x"), 3, 1)),
		daxRequest("updateItem", text(daxTable), text("k"), options(7, 5, 8, text("\x83\x01\x81\x83\x13\x82\x12\x61x\x82\x11\x00\x81\x01"))),
		daxRequest("query", text(daxTable), text("\x83\x01\x83\x00\x82\x12\x62pk\x82\x11\x00\x81\x61k"), options(13, 1)), daxRequest("scan", text(daxTable), options(9, text("k"))),
		daxRequest("batchGetItem", slices.Concat(wire.AppendText(wire.AppendMap(nil, 1), daxTable), unhex("83f4f681"), text("k")), options()),
		daxRequest("batchWriteItem", slices.Concat(wire.AppendText(wire.AppendMap(nil, 1), daxTable), unhex("84"), text("k"), content(id, attribute.True, attribute.Null), text("l"), unhex("f6")), options()),
		daxRequest("transactGetItems", append(unhex("81"), text(daxTable)...), append(unhex("81"), text("k")...), unhex("f6"), options()),
		daxRequest("transactWriteItems", unhex("8102"), append(unhex("81"), text(daxTable)...), append(unhex("81"), text("k")...), append(unhex("81"), content(id, attribute.True, attribute.Null)...), unhex("f6f6f6f6"), options()),
		daxRequest("deleteItem", text(daxTable), text("k"), options()),
	}
	r := rand.New(rand.NewPCG(7, 8))
	var all sync.WaitGroup
	limit := make(chan struct{}, 16)
	for range 3000 {
		conversation := daxPreamble(int64(r.IntN(2)))
		for range 1 + r.IntN(4) {
			conversation = append(conversation, requests[r.IntN(len(requests))]...)
		}
		for range 1 + r.IntN(4) {
			if len(conversation) == 0 {
				break
			}
			at := r.IntN(len(conversation))
			switch r.IntN(4) {
			case 0:
				conversation[at] = byte(r.Uint32())
			case 1:
				conversation = slices.Delete(conversation, at, min(len(conversation), at+1+r.IntN(4)))
			case 2:
				conversation = slices.Insert(conversation, at, byte(r.Uint32()), byte(r.Uint32()))
			default:
				conversation = conversation[:at+1]
			}
		}
		limit <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-limit; all.Done() }()
			nc, err := net.Dial("tcp", strings.TrimPrefix(addr, "dax://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = nc.Write(conversation)
			_ = nc.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%x hangs", conversation)
			}
		}()
	}
	all.Wait()
	if list := failures.take(); list != nil {
		t.Errorf("the server failed: %v", list)
	}
	good.put("good", "still")
	if got := good.get("good"); got != "still" {
		t.Errorf("got %s", got)
	}
	eventually(t, "the connections are gone", func() bool { return d.Server.dax.base.Clients() == 1 })
}

// failureLog collects log messages about failures of the server.
type failureLog struct {
	slog.Handler
	mu   sync.Mutex
	list []string
}

func (l *failureLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}
func (l *failureLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *failureLog) WithGroup(string) slog.Handler      { return l }
func (l *failureLog) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, text)
	return nil
}

func (l *failureLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list
}

// FuzzDAX sends arbitrary bytes after the handshake.
func FuzzDAX(f *testing.F) {
	var failures failureLog
	s, err := Open(Options{InMemory: true, Listen: "127.0.0.1:0", Logger: slog.New(&failures), DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Add(daxRequest("endpoints"))
	f.Add(daxRequest("getItem", text("Tab"), text("k"), options(0, text("\x82\x01\x81\x82\x12\x61x"), 3, 1)))
	f.Add(daxRequest("updateItem", text("Tab"), text("k"), options(7, 5, 8, text("\x83\x01\x81\x83\x13\x82\x12\x61x\x82\x11\x00\x81\x01"))))
	f.Add(daxRequest("batchWriteItem", unhex("a163546162824161"+"4101"), options()))
	f.Add(daxRequest("transactWriteItems", unhex("8102"), unhex("8143546162"), unhex("81416b"), unhex("814101"), unhex("f6f6f6f6"), options()))
	f.Fuzz(func(t *testing.T, b []byte) {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.DAXURLs()[0], "dax://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = nc.Write(append(daxPreamble(0), b...))
		_ = nc.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("it hangs")
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(b))*1000+32<<20 {
			t.Fatalf("%d bytes of memory for %d", took, len(b))
		}
		if taken := s.dax.base.Taken(); s.dax.base.Clients() == 0 && taken != 0 {
			t.Fatalf("%d bytes are still taken", taken)
		}
		if list := failures.take(); list != nil {
			t.Fatal(list)
		}
	})
}
