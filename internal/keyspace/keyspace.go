// Package keyspace has every key that Stator writes, in every engine. It is the only place that knows their layout.
//
//	t | table id (4) | index (1) | hash (4) | partition key | sort key           an item; index 0 is the table itself
//	t | table id (4) | index (1) | hash (4) | partition key | sort key | item key   an index entry; the item key is the
//	                                                                             partition key and sort key of the item
//	m t | account 0 region 0 name     a table's description
//	m n                               the last table id given out
//	m c | table id (4)                a table's counters: items and bytes, of the table and of each index
//	m d | table id (4)                a dropped table whose items are still to be removed
//	k | account 0 token               a transaction's idempotency token
//
// Key attributes are written so that their bytes sort as DynamoDB sorts them: strings and binaries with 0x00 escaped as
// 00 FF and closed by 00 01, so that begins_with is a range of prefixes; numbers as attribute.AppendNumberKey does. An LSI
// is stored under its item's partition key, a GSI under its own.
//
// hash is the upper half of the 64-bit xxHash of the encoded partition key. It gives Scan the order that it has in AWS,
// which is none, and makes segment i of n the i-th part of the hash space.
package keyspace

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/attribute"
)

// FormatVersion is the version of the layout. A data directory of a newer one is refused.
const FormatVersion = 1

const (
	prefixTable = 't'
	prefixMeta  = 'm'
	prefixToken = 'k'

	metaTable    = 't'
	metaTableID  = 'n'
	metaCounters = 'c'
	metaDropped  = 'd'
)

// HashSpace is the number of hashes of partition keys.
const HashSpace = 1 << 32

// Tables returns the prefix of all items and index entries.
func Tables() []byte { return []byte{prefixTable} }

// TableID returns the table id in the key of an item or index entry.
func TableID(key []byte) uint32 { return binary.BigEndian.Uint32(key[1:]) }

// IndexID returns the index in the key of an item or index entry; 0 is the table itself.
func IndexID(key []byte) uint8 { return key[5] }

// TablePrefix returns the prefix of all keys of a table and its indexes.
func TablePrefix(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixTable}, table)
}

// indexPrefixLen is the length of what AppendIndexPrefix appends.
const indexPrefixLen = 1 + 4 + 1

// AppendIndexPrefix appends the prefix of all entries of an index; index 0 is the table itself.
func AppendIndexPrefix(dst []byte, table uint32, index uint8) []byte {
	dst = append(dst, prefixTable)
	dst = binary.BigEndian.AppendUint32(dst, table)
	return append(dst, index)
}

// AppendHashBound appends the bound between keys whose hash is below hash and the others; hash may be HashSpace.
func AppendHashBound(dst []byte, table uint32, index uint8, hash uint64) []byte {
	if hash >= HashSpace {
		return append(dst, PrefixEnd(AppendIndexPrefix(nil, table, index))...)
	}
	dst = AppendIndexPrefix(dst, table, index)
	return binary.BigEndian.AppendUint32(dst, uint32(hash))
}

// AppendPartition appends the prefix of all entries of one partition key, whose encoded form is partition.
func AppendPartition(dst []byte, table uint32, index uint8, partition []byte) []byte {
	dst = AppendIndexPrefix(dst, table, index)
	dst = binary.BigEndian.AppendUint32(dst, PartitionHash(partition))
	return append(dst, partition...)
}

// PartitionHash returns the hash of an encoded partition key.
func PartitionHash(partition []byte) uint32 { return uint32(xxhash.Sum64(partition) >> 32) }

// HashOf returns the hash in a key of a table or an index.
func HashOf(key []byte) uint32 { return binary.BigEndian.Uint32(key[indexPrefixLen:]) }

// AppendValue appends the encoded form of a key attribute: a string, number or binary.
func AppendValue(dst []byte, v attribute.Value) []byte {
	if v.Type() == attribute.TypeN {
		return attribute.AppendNumberKey(dst, v.Bytes())
	}
	return append(AppendValuePrefix(dst, v.Bytes()), 0, 1)
}

// AppendValuePrefix appends what the encoded forms of all strings or binaries that begin with b have in common.
func AppendValuePrefix(dst, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		dst = append(dst, 0, 0xFF)
		b = b[i+1:]
	}
}

// PrefixEnd returns the first key behind all keys that begin with prefix; nil if there is none.
func PrefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xFF {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// TableRecords returns the prefix of all table descriptions.
func TableRecords() []byte { return []byte{prefixMeta, metaTable} }

// TableRecord returns the key of a table's description.
func TableRecord(account, region, name string) []byte {
	k := append(TableRecords(), account...)
	k = append(k, 0)
	k = append(k, region...)
	k = append(k, 0)
	return append(k, name...)
}

// LastTableID returns the key of the last table id given out.
func LastTableID() []byte { return []byte{prefixMeta, metaTableID} }

// Counters returns the key of a table's counters.
func Counters(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixMeta, metaCounters}, table)
}

// DroppedTables returns the prefix of the tables whose items are still to be removed.
func DroppedTables() []byte { return []byte{prefixMeta, metaDropped} }

// DroppedTable returns the key of a table whose items are still to be removed.
func DroppedTable(table uint32) []byte {
	return binary.BigEndian.AppendUint32(DroppedTables(), table)
}

// DroppedTableID returns the table id in a key made by DroppedTable.
func DroppedTableID(key []byte) uint32 { return binary.BigEndian.Uint32(key[2:]) }

// Tokens returns the prefix of all idempotency tokens.
func Tokens() []byte { return []byte{prefixToken} }

// Token returns the key of a transaction's idempotency token.
func Token(account, token string) []byte {
	k := append(Tokens(), account...)
	k = append(k, 0)
	return append(k, token...)
}
