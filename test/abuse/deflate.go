package abuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

var deflateAttacks = []Attack{
	{Point: 3, Name: "gzip of empty dynamic blocks, 2 MB", Work: 20 * time.Second, Run: emptyBlocks(dynamicBlocks)},
	{Point: 3, Name: "gzip of empty stored blocks, 2 MB", Work: 10 * time.Second, Run: emptyBlocks(storedBlocks)},
	{Point: 3, Name: "clients that go away while 8 MB of empty blocks are decompressed", Work: 30 * time.Second, Run: emptyBlocksAway},
}

// bits is a stream of bits in deflate's order: the lowest bit of a byte first (RFC 1951, 3.1.1).
type bits struct {
	out   []byte
	count int
}

// add appends the n lowest bits of value, the lowest first.
func (b *bits) add(value, n int) {
	for i := range n {
		if b.count%8 == 0 {
			b.out = append(b.out, 0)
		}
		b.out[b.count/8] |= byte(value>>i&1) << (b.count % 8)
		b.count++
	}
}

// dynamicBlocks returns about size bytes of blocks with Huffman codes of their own and no data (RFC 1951, 3.2.7): the most expensive bytes
// that inflate to nothing. A block has 90 bits, so every fourth ends at a byte.
func dynamicBlocks(size int) []byte {
	var b bits
	for range 4 {
		b.add(0b100, 3) // not the last block; dynamic codes
		b.add(0, 5)     // 257 literal codes
		b.add(0, 5)     // one distance code
		b.add(14, 4)    // 18 code lengths, in the order 16, 17, 18, …, 1
		for i := range 18 {
			length := 0
			if i == 2 || i == 17 { // for 18, which repeats zeros, and 1
				length = 1
			}
			b.add(length, 3)
		}
		b.add(1|127<<1, 8) // 138 zeros
		b.add(1|107<<1, 8) // 118 zeros
		b.add(0, 1)        // the end-of-block code has one bit
		b.add(0, 1)        // so has the distance
		b.add(0, 1)        // end of block
	}
	return bytes.Repeat(b.out, size/len(b.out))
}

// storedBlocks returns about size bytes of stored blocks without data.
func storedBlocks(size int) []byte {
	return bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), size/5)
}

// emptyZip returns a gzip file of blocks without data.
func emptyZip(blocks []byte) []byte {
	head := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	last := []byte("\x01\x00\x00\xff\xff")
	return bytes.Join([][]byte{head, blocks, last, make([]byte, 8)}, nil) // checksum and length of nothing are 0
}

// emptyBlocks sends bodies that keep a decompressor busy and inflate to nothing.
func emptyBlocks(blocks func(size int) []byte) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		body := emptyZip(blocks(2 << 20))
		replies := make(chan Reply)
		const clients = 4
		for range clients {
			go func() { replies <- t.Zip(ctx, Alice, "PutItem", body) }()
		}
		var failed error
		for range clients {
			r := <-replies
			failed = errors.Join(failed, r.Is("empty blocks", "SerializationException", "ServiceUnavailable"))
		}
		return failed
	}
}

// emptyBlocksAway has clients disconnect while their bodies are decompressed, or wait for that. It must cost at most half of what it costs
// if they stay.
func emptyBlocksAway(ctx context.Context, t *Target) error {
	body := emptyZip(dynamicBlocks(8 << 20))
	start := t.CPU()
	r := t.Zip(ctx, Alice, "PutItem", body)
	if err := r.Is("empty blocks", "SerializationException"); err != nil {
		return err
	}
	each := t.CPU() - start
	start = t.CPU()
	const clients = 8
	message := t.signedHead(Alice, "PutItem", body, len(body), "Content-Encoding: gzip") + "\r\n" + string(body)
	var conns []net.Conn
	for range clients {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, message); err != nil {
			return err
		}
	}
	for _, c := range conns {
		c.Close()
	}
	if err := t.Idle(); err != nil {
		return err
	}
	if work := t.CPU() - start; work > clients*each/2 {
		return fmt.Errorf("%d clients that went away cost %v, of %v if they had stayed", clients, work, clients*each)
	}
	return nil
}
