// Package keyspace has every key that Stator writes, in every engine. It is the only place that knows their layout.
//
//	t | table id (4) | index (1) | hash (4) | partition key | sort key           an item; index 0 is the table itself
//	t | table id (4) | index (1) | hash (4) | partition key | sort key | item key   an index entry; the item key is the
//	                                                                             partition key and sort key of the item
//	s | table id (4) | shard (4) | stamp (8) | n (2)        a change record: the n-th of the transaction with that stamp
//	x | table id (4) | bucket (1) | seconds (8) | hash (4) | partition key | sort key   when an item expires; the bucket is
//	                                                                             of the hash, so that not all expire in one place
//	m t | account 0 region 0 name     a table's description
//	m n                               the last table id given out
//	m c | table id (4)                a table's counters: items and bytes, of the table and of each index
//	m d | table id (4)                a dropped table whose items are still to be removed
//	m s | table id (4) | label        a stream that has ended and is still readable
//	m b | table id (4) | index (1)    how far the items have been put into a new index, or, for 0, into the TTL index
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
const FormatVersion = 2

const (
	prefixTable  = 't'
	prefixMeta   = 'm'
	prefixToken  = 'k'
	prefixChange = 's'
	prefixExpiry = 'x'

	metaTable    = 't'
	metaTableID  = 'n'
	metaCounters = 'c'
	metaDropped  = 'd'
	metaStream   = 's'
	metaBackfill = 'b'
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

// changeKeyLen is the length of a change record's key.
const changeKeyLen = 1 + 4 + 4 + 8 + 2

// AppendChange appends the key of the n-th change record of a transaction. All records of one shard sort by stamp and n.
func AppendChange(dst []byte, table, shard uint32, stamp uint64, n uint16) []byte {
	dst = append(dst, prefixChange)
	dst = binary.BigEndian.AppendUint32(dst, table)
	dst = binary.BigEndian.AppendUint32(dst, shard)
	dst = binary.BigEndian.AppendUint64(dst, stamp)
	return binary.BigEndian.AppendUint16(dst, n)
}

// AllChanges returns the prefix of all change records.
func AllChanges() []byte { return []byte{prefixChange} }

// Changes returns the prefix of all change records of a table.
func Changes(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixChange}, table)
}

// ChangesOfShard returns the prefix of a shard's change records.
func ChangesOfShard(table, shard uint32) []byte {
	return binary.BigEndian.AppendUint32(Changes(table), shard)
}

// ChangePosition returns stamp and n of a change record's key; ok is false if it is none.
func ChangePosition(key []byte) (stamp uint64, n uint16, ok bool) {
	if len(key) != changeKeyLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(key[9:]), binary.BigEndian.Uint16(key[17:]), true
}

// ExpiryBuckets is the number of buckets of the TTL index.
const ExpiryBuckets = 16

// AppendExpiry appends the key of the TTL index for the item stored at itemKey that expires at the time in seconds since
// 1970, which is above 0.
func AppendExpiry(dst []byte, itemKey []byte, seconds int64) []byte {
	dst = AppendExpiryBound(dst, TableID(itemKey), uint8(HashOf(itemKey)%ExpiryBuckets), seconds)
	return append(dst, itemKey[indexPrefixLen:]...)
}

// AppendExpiryBound appends the bound between the keys of a bucket that expire before the time and the others.
func AppendExpiryBound(dst []byte, table uint32, bucket uint8, seconds int64) []byte {
	dst = append(dst, prefixExpiry)
	dst = binary.BigEndian.AppendUint32(dst, table)
	dst = append(dst, bucket)
	return binary.BigEndian.AppendUint64(dst, uint64(max(seconds, 0)))
}

// expiryPrefixLen is the length of what AppendExpiryBound appends.
const expiryPrefixLen = 1 + 4 + 1 + 8

// ExpiringItem returns the storage key of the item that a key of the TTL index is about; ok is false if it is none.
func ExpiringItem(key []byte) (itemKey []byte, ok bool) {
	if len(key) <= expiryPrefixLen {
		return nil, false
	}
	return append(AppendIndexPrefix(nil, TableID(key), 0), key[expiryPrefixLen:]...), true
}

// Expiries returns the prefix of a table's TTL index.
func Expiries(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixExpiry}, table)
}

// EndedStreams returns the prefix of the streams that have ended.
func EndedStreams() []byte { return []byte{prefixMeta, metaStream} }

// EndedStream returns the key of a stream that has ended.
func EndedStream(table uint32, label string) []byte {
	return append(binary.BigEndian.AppendUint32(EndedStreams(), table), label...)
}

// Backfill returns the key that says how far the items have been put into an index; 0 is the TTL index.
func Backfill(table uint32, index uint8) []byte {
	return append(Backfills(table), index)
}

// Backfills returns the prefix of Backfill's keys of a table.
func Backfills(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixMeta, metaBackfill}, table)
}
