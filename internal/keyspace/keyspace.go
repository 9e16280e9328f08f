// Package keyspace has every key that Stator writes, in every engine. It is the only place that knows their layout. Numbers in
// parentheses are lengths in bytes; integers are big-endian; 0 is a zero byte, which ends a text.
//
// Items, their changes and their past:
//
//	t | table id (4) | index (1) | hash (4) | partition key | sort key              an item; index 0 is the table itself
//	t | table id (4) | index (1) | hash (4) | partition key | sort key | item key   an index entry; the item key is the
//	                                                                                partition key and sort key of the item
//	s | table id (4) | shard (4) | stamp (8) | n (2)                                a change record: the n-th of the
//	                                                                                transaction with that stamp
//	x | table id (4) | bucket (1) | seconds (8) | hash (4) | partition key | sort key    the expiry of an item; the bucket depends
//	                                                                                on the hash, to spread writes
//	h | table id (4) | day (4) | hash (4) | partition key | sort key | stamp (8)    an item before the change with that stamp,
//	                                                                                for point-in-time recovery
//
// Tables (package catalog):
//
//	m t | account 0 region 0 name     a table's description
//	m n                               the last table id given out
//	m c | table id (4)                a table's counters: items and bytes, of the table and of each index
//	m d | table id (4)                a dropped table whose data has yet to be removed
//	m s | table id (4) | label        a stream that has ended and is still readable
//	m b | table id (4) | index (1) | part (1)   progress of a backfill of an index in a part of the hash space; index 0 is the TTL index
//	m k                               a timestamp that the store's clock has reached
//	m f                               the version of this layout, in a store without a data directory
//	k | account 0 token               a transaction's idempotency token
//	k | account 1 token               what that transaction consumed
//
// CloudWatch (package cloudwatch):
//
//	w m | id (4)                      a metric's description
//	w i | account 0 region 0 namespace 0 name 0 digest (16) unit   a metric's id
//	w c | account                     the number of metrics that an account has put
//	w v                               exists once all metrics are in the index w i
//	w p | id (4) | seconds (4) | time (8)   a metric's point: the period of so many seconds that begins at the time
//	w a | account 0 region 0 name     an alarm
//	w h | account 0 region 0 time (8) n (4)   an item of the alarms' history
//	w r | rule 0 time (8)             a Contributor Insights rule's report of a minute
//	w t                               the last minute for which alarms were evaluated and scheduled actions were run
//
// Everything else:
//
//	j kind | account 0 region 0 id    a backup, export, import or bulk operation; a cluster, group or event of DAX
//	d l | account 0 id (8)            a list of attribute names that DAX clients know by its id
//	a kind | account 0 region 0 name  a target, policy, scheduled action or activity of Application Auto Scaling
//	i kind | account 0 region 0 name  a record of IAM (package iam): a user, group, role, policy, access key or instance profile
//	L s | id                          a server that shares the store (package cluster)
//	L l | job                         the server that holds the lease of a job
//	L n                               the number of the last log entry
//	L e | number (8)                  a log entry: a key that has changed or is to be frozen
//	L f                               the freeze in progress
//	L u | id                          what a server has consumed of tables with limited throughput
//	L m | id 0 number (8)             the items that were written through a server's DAX node
//
// Key attributes are encoded so that their bytes sort as DynamoDB sorts the values. Strings and binaries have 0x00 escaped as 00 FF
// and end with 00 01, so that begins_with is a range of prefixes; numbers are encoded by attribute.AppendNumberKey. An LSI is stored
// under its item's partition key, a GSI under its own.
//
// Key attributes may exceed an engine's limit on keys, which hold several of them (PostgreSQL's limit is 2,700 bytes). So a partition
// key, or the item key in an index entry, with an encoded form longer than 255 bytes is stored as 00 02 and its SHA-256. Nothing
// depends on the order of these, and items and entries have their key attributes in their values, so nothing is decoded from a key but
// its hash. Tables that were made by format 3 or earlier store these keys in full: see KeyForm.
//
// hash is the upper half of the 64-bit xxHash of the encoded partition key. It gives Scan an order without meaning, as in AWS, and
// makes segment i of n the i-th part of the hash space.
package keyspace

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/kv"
)

// FormatVersion is the version of the layout. A data directory or store of a newer version is refused.
const FormatVersion = 4

// boundedSince is the first version of the layout whose new tables use KeysBounded.
const boundedSince = 4

// KeyForm is how the partition keys and item keys of a table are stored.
type KeyForm uint8

const (
	// KeysInFull stores keys of any length as they are.
	KeysInFull KeyForm = iota
	// KeysBounded stores keys longer than maxInFull by their digest.
	KeysBounded
)

// maxInFull is the longest encoded form, in bytes, that KeysBounded stores as it is. It bounds the keys of a table to
// 2,340 bytes, and those of an index with one sort key to 2,570. The worst case is a sort key of zero bytes, each of
// which is escaped to two.
const maxInFull = 255

// KeysOfFormat returns the form of keys of a new table in a store of this version of the layout.
func KeysOfFormat(version int) KeyForm {
	if version < boundedSince {
		return KeysInFull
	}
	return KeysBounded
}

// bound returns an encoded key as it is stored in this form.
func (f KeyForm) bound(encoded []byte) []byte {
	if f == KeysInFull || len(encoded) <= maxInFull {
		return encoded
	}
	digest := sha256.Sum256(encoded)
	// No encoded value begins like this: in them, 00 is followed by FF or 01.
	return append([]byte{0, 2}, digest[:]...)
}

const (
	prefixTable   = 't'
	prefixMeta    = 'm'
	prefixToken   = 'k'
	prefixChange  = 's'
	prefixExpiry  = 'x'
	prefixWatch   = 'w'
	prefixScale   = 'a'
	prefixPast    = 'h'
	prefixJob     = 'j'
	prefixIAM     = 'i'
	prefixDAX     = 'd'
	prefixCluster = 'L'

	metaTable    = 't'
	metaTableID  = 'n'
	metaCounters = 'c'
	metaDropped  = 'd'
	metaStream   = 's'
	metaBackfill = 'b'
	metaClock    = 'k'
	metaFormat   = 'f'

	daxList = 'l'

	clusterServer  = 's'
	clusterLease   = 'l'
	clusterLog     = 'n'
	clusterEntry   = 'e'
	clusterFreeze  = 'f'
	clusterMessage = 'u'
	clusterMail    = 'm'

	watchMetric  = 'm'
	watchPoint   = 'p'
	watchAlarm   = 'a'
	watchHistory = 'h'
	watchReport  = 'r'
	watchMinute  = 't'
	watchIndex   = 'i'
	watchCount   = 'c'
	watchIndexed = 'v'
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

// indexPrefixLen is the length of an index prefix, in bytes.
const indexPrefixLen = 1 + 4 + 1

// AppendIndexPrefix appends the prefix of all entries of an index; index 0 is the table itself.
func AppendIndexPrefix(dst []byte, table uint32, index uint8) []byte {
	dst = append(dst, prefixTable)
	dst = binary.BigEndian.AppendUint32(dst, table)
	return append(dst, index)
}

// AppendHashBound appends the lower bound of the keys with at least that hash. hash may be HashSpace, for the end of the index.
func AppendHashBound(dst []byte, table uint32, index uint8, hash uint64) []byte {
	if hash >= HashSpace {
		return append(dst, kv.PrefixEnd(AppendIndexPrefix(nil, table, index))...)
	}
	dst = AppendIndexPrefix(dst, table, index)
	return binary.BigEndian.AppendUint32(dst, uint32(hash))
}

// AppendPartition appends the prefix of all items or entries with one partition key, whose encoded form is partition.
func AppendPartition(dst []byte, table uint32, index uint8, partition []byte, form KeyForm) []byte {
	dst = AppendIndexPrefix(dst, table, index)
	dst = binary.BigEndian.AppendUint32(dst, PartitionHash(partition))
	return append(dst, form.bound(partition)...)
}

// BoundItemKey bounds the item key in an index entry's key: the item's encoded partition key and sort key, which follow
// the first n bytes.
func BoundItemKey(key []byte, n int, form KeyForm) []byte {
	return append(key[:n], form.bound(key[n:])...)
}

// PartitionHash returns the hash of an encoded partition key.
func PartitionHash(partition []byte) uint32 { return uint32(xxhash.Sum64(partition) >> 32) }

// HashOf returns the hash in the key of an item or index entry.
func HashOf(key []byte) uint32 { return binary.BigEndian.Uint32(key[indexPrefixLen:]) }

// AppendValue appends the encoded form of a key attribute: a string, number or binary.
func AppendValue(dst []byte, v attribute.Value) []byte {
	if v.Type() == attribute.TypeN {
		return attribute.AppendNumberKey(dst, v.Bytes())
	}
	return append(AppendValuePrefix(dst, v.Bytes()), 0, 1)
}

// AppendValuePrefix appends the common prefix of the encoded forms of all strings or binaries that begin with b.
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

// TableRecords returns the prefix of all table descriptions.
func TableRecords() []byte { return []byte{prefixMeta, metaTable} }

// TableRecord returns the key of a table's description.
func TableRecord(account, region, name string) []byte {
	return Named(TableRecords(), account, region, name)
}

// LastTableID returns the key of the last table id given out.
func LastTableID() []byte { return []byte{prefixMeta, metaTableID} }

// Clock returns the key of a timestamp that the store's clock has reached.
func Clock() []byte { return []byte{prefixMeta, metaClock} }

// Format returns the key of the layout's version, in a store without a data directory.
func Format() []byte { return []byte{prefixMeta, metaFormat} }

// Counters returns the key of a table's counters.
func Counters(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixMeta, metaCounters}, table)
}

// DroppedTables returns the prefix of the tables whose data has yet to be removed.
func DroppedTables() []byte { return []byte{prefixMeta, metaDropped} }

// DroppedTable returns the key of a table whose data has yet to be removed.
func DroppedTable(table uint32) []byte {
	return binary.BigEndian.AppendUint32(DroppedTables(), table)
}

// DroppedTableID returns the table id in a key made by DroppedTable.
func DroppedTableID(key []byte) uint32 { return binary.BigEndian.Uint32(key[2:]) }

// Suffix returns the part of the key of an item or index entry after the table and index. Tables with the same key
// attributes and KeyForm have equal suffixes for equal items.
func Suffix(key []byte) []byte { return key[indexPrefixLen:] }

// TableIndexes returns the range of all index entries of a table.
func TableIndexes(table uint32) (start, end []byte) {
	return AppendIndexPrefix(nil, table, 1), kv.PrefixEnd(TablePrefix(table))
}

// dayMillis is the length of a day of the history, in milliseconds.
const dayMillis = 24 * 3600 * 1000

// HistoryDay returns the day since 1970 of a time in milliseconds since 1970.
func HistoryDay(ms int64) uint32 { return uint32(max(ms, 0) / dayMillis) }

// HashPart returns the part, of n equal parts of the hash space, that holds the key of an item or index entry.
func HashPart(key []byte, n int) int { return int(uint64(HashOf(key)) * uint64(n) / HashSpace) }

// HashBound returns the lower bound of the suffixes in part i of n equal parts of the hash space; nil if i is n.
func HashBound(i, n int) []byte {
	if i == n {
		return nil
	}
	// The first hash h for which h*n/HashSpace is i.
	return binary.BigEndian.AppendUint32(nil, uint32((uint64(i)*HashSpace+uint64(n)-1)/uint64(n)))
}

// Past returns the prefix of a table's history.
func Past(table uint32) []byte { return binary.BigEndian.AppendUint32([]byte{prefixPast}, table) }

// AllPasts returns the prefix of the history of all tables.
func AllPasts() []byte { return []byte{prefixPast} }

// PastDay returns the prefix of one day of a table's history.
func PastDay(table, day uint32) []byte { return binary.BigEndian.AppendUint32(Past(table), day) }

// AppendPast appends the key of the old image of the item at itemKey: what it was before the change with that stamp. ms
// is when the change was made, in milliseconds since 1970.
func AppendPast(dst, itemKey []byte, ms int64, stamp uint64) []byte {
	dst = append(dst, prefixPast)
	dst = binary.BigEndian.AppendUint32(dst, TableID(itemKey))
	dst = binary.BigEndian.AppendUint32(dst, HistoryDay(ms))
	dst = append(dst, Suffix(itemKey)...)
	return binary.BigEndian.AppendUint64(dst, stamp)
}

// pastPrefixLen is the length of a day's prefix, in bytes.
const pastPrefixLen = 1 + 4 + 4

// SplitPast splits a key made by AppendPast into day, item key suffix and stamp; ok is false for other keys.
func SplitPast(key []byte) (day uint32, suffix []byte, stamp uint64, ok bool) {
	if len(key) < pastPrefixLen+8 {
		return 0, nil, 0, false
	}
	return binary.BigEndian.Uint32(key[5:]), key[pastPrefixLen : len(key)-8], binary.BigEndian.Uint64(key[len(key)-8:]), true
}

// Jobs returns the prefix of all records of a kind of backups, exports, imports, bulk operations and DAX.
func Jobs(kind byte) []byte { return []byte{prefixJob, kind} }

// AttributeList returns the key of a list of attribute names, which DAX clients of the account know by its id.
func AttributeList(account string, id int64) []byte {
	k := append([]byte{prefixDAX, daxList}, account...)
	return binary.BigEndian.AppendUint64(append(k, 0), uint64(id))
}

// Tokens returns the prefix of all idempotency tokens.
func Tokens() []byte { return []byte{prefixToken} }

// Token returns the key of a transaction's idempotency token.
func Token(account, token string) []byte {
	k := append(Tokens(), account...)
	k = append(k, 0)
	return append(k, token...)
}

// TokenUnits returns the key of what the transaction with an idempotency token consumed.
func TokenUnits(account, token string) []byte {
	k := append(Tokens(), account...)
	k = append(k, 1)
	return append(k, token...)
}

// changeKeyLen is the length of a change record's key, in bytes.
const changeKeyLen = 1 + 4 + 4 + 8 + 2

// AppendChange appends the key of the n-th change record of a transaction. The records of a shard sort by stamp and n.
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

// ChangePosition returns the stamp and n of a change record's key; ok is false for other keys.
func ChangePosition(key []byte) (stamp uint64, n uint16, ok bool) {
	if len(key) != changeKeyLen {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(key[9:]), binary.BigEndian.Uint16(key[17:]), true
}

// ExpiryBuckets is the number of buckets of the TTL index. They spread the writes of items that expire at similar times.
const ExpiryBuckets = 16

// AppendExpiry appends the TTL index key of the item at itemKey, which expires at a time in seconds since 1970, above 0.
func AppendExpiry(dst []byte, itemKey []byte, seconds int64) []byte {
	dst = AppendExpiryBound(dst, TableID(itemKey), uint8(HashOf(itemKey)%ExpiryBuckets), seconds)
	return append(dst, itemKey[indexPrefixLen:]...)
}

// AppendExpiryBound appends the lower bound of a bucket's keys that expire at or after a time in seconds since 1970.
func AppendExpiryBound(dst []byte, table uint32, bucket uint8, seconds int64) []byte {
	dst = append(dst, prefixExpiry)
	dst = binary.BigEndian.AppendUint32(dst, table)
	dst = append(dst, bucket)
	return binary.BigEndian.AppendUint64(dst, uint64(max(seconds, 0)))
}

// expiryPrefixLen is the length of a bound of the TTL index, in bytes.
const expiryPrefixLen = 1 + 4 + 1 + 8

// ExpiringItem returns the storage key of the item that a TTL index key refers to; ok is false for other keys.
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

// EndedStreams returns the prefix of the ended streams.
func EndedStreams() []byte { return []byte{prefixMeta, metaStream} }

// EndedStream returns the key of an ended stream.
func EndedStream(table uint32, label string) []byte {
	return append(binary.BigEndian.AppendUint32(EndedStreams(), table), label...)
}

// BackfillParts is the number of parts of the hash space in which a backfill processes the items of a table.
const BackfillParts = 16

// Backfill returns the key of a backfill's progress in one part; index 0 is the TTL index.
func Backfill(table uint32, index, part uint8) []byte {
	return append(Backfills(table), index, part)
}

// Backfills returns the prefix of the progress of a table's backfills.
func Backfills(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixMeta, metaBackfill}, table)
}

// Metrics returns the prefix of the descriptions of metrics.
func Metrics() []byte { return []byte{prefixWatch, watchMetric} }

// Metric returns the key of a metric's description.
func Metric(id uint32) []byte { return binary.BigEndian.AppendUint32(Metrics(), id) }

// MetricIndex returns the prefix of the metrics of an account, region, namespace and name: of as many of these as are given.
func MetricIndex(parts ...string) []byte {
	k := []byte{prefixWatch, watchIndex}
	for _, part := range parts {
		k = append(append(k, part...), 0)
	}
	return k
}

// MetricIndexEntry returns the key that holds the id of a metric in one unit. digest identifies the metric's dimensions.
func MetricIndexEntry(account, region, namespace, name string, digest [16]byte, unit string) []byte {
	return append(append(MetricIndex(account, region, namespace, name), digest[:]...), unit...)
}

// WithoutUnit returns the part of an index entry's key that does not depend on the unit.
func WithoutUnit(entry []byte) []byte {
	at := 2
	for range 4 {
		at += bytes.IndexByte(entry[at:], 0) + 1
	}
	return entry[:min(at+16, len(entry))]
}

// MetricCount returns the key of the number of metrics that an account has put.
func MetricCount(account string) []byte { return append([]byte{prefixWatch, watchCount}, account...) }

// MetricsIndexed returns a key that exists once all metrics are in the index.
func MetricsIndexed() []byte { return []byte{prefixWatch, watchIndexed} }

// AllMetricPoints returns the prefix of a metric's points of all periods.
func AllMetricPoints(id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixWatch, watchPoint}, id)
}

// MetricID returns the id in the key of a metric's description.
func MetricID(key []byte) uint32 { return binary.BigEndian.Uint32(key[len(key)-4:]) }

// MetricPoints returns the prefix of a metric's points with a period of so many seconds.
func MetricPoints(id, seconds uint32) []byte {
	k := binary.BigEndian.AppendUint32([]byte{prefixWatch, watchPoint}, id)
	return binary.BigEndian.AppendUint32(k, seconds)
}

// MetricPoint returns the key of a metric's point: a period that began at a time in seconds since 1970.
func MetricPoint(id, seconds uint32, at int64) []byte {
	return binary.BigEndian.AppendUint64(MetricPoints(id, seconds), uint64(max(at, 0)))
}

// Time returns the time at the end of a key.
func Time(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// Named returns the key of a record, given the prefix of its kind. A name that is itself a prefix gives a prefix of keys.
func Named(prefix []byte, account, region, name string) []byte {
	k := append(prefix, account...)
	k = append(k, 0)
	k = append(k, region...)
	k = append(k, 0)
	return append(k, name...)
}

// SplitNamed splits a key made by Named, whose prefix has two bytes, into account, region and name; ok is false for other keys.
func SplitNamed(key []byte) (account, region, name string, ok bool) {
	if len(key) < 2 {
		return "", "", "", false
	}
	parts := bytes.SplitN(key[2:], []byte{0}, 3)
	if len(parts) != 3 {
		return "", "", "", false
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), true
}

// Alarms returns the prefix of all alarms.
func Alarms() []byte { return []byte{prefixWatch, watchAlarm} }

// AlarmHistory returns the prefix of the history of an account's alarms.
func AlarmHistory(account, region string) []byte {
	return Named([]byte{prefixWatch, watchHistory}, account, region, "")
}

// AllAlarmHistory returns the prefix of the history of all alarms.
func AllAlarmHistory() []byte { return []byte{prefixWatch, watchHistory} }

// AlarmHistoryItem returns the key of the n-th history item of a millisecond since 1970.
func AlarmHistoryItem(account, region string, ms int64, n uint32) []byte {
	k := binary.BigEndian.AppendUint64(AlarmHistory(account, region), uint64(ms))
	return binary.BigEndian.AppendUint32(k, n)
}

// ContributorReports returns the prefix of the reports of a Contributor Insights rule, one per minute.
func ContributorReports(rule string) []byte {
	return append(append([]byte{prefixWatch, watchReport}, rule...), 0)
}

// EvaluatedMinute returns the key of the last minute for which alarms were evaluated and scheduled actions were run.
func EvaluatedMinute() []byte { return []byte{prefixWatch, watchMinute} }

// AllContributorReports returns the prefix of the reports of all Contributor Insights rules.
func AllContributorReports() []byte { return []byte{prefixWatch, watchReport} }

// ContributorReport returns the key of the report of a minute that began at a time in seconds since 1970.
func ContributorReport(rule string, at int64) []byte {
	return binary.BigEndian.AppendUint64(ContributorReports(rule), uint64(at))
}

// ScalingRecords returns the prefix of all records of a kind of Application Auto Scaling.
func ScalingRecords(kind byte) []byte { return []byte{prefixScale, kind} }

// IAMRecords returns the prefix of all records of a kind of IAM.
func IAMRecords(kind byte) []byte { return []byte{prefixIAM, kind} }

// IAMAccount returns a key that is never stored. Transactions that change an account's records of IAM hint it, which makes them wait for each other.
func IAMAccount(account string) []byte { return append(IAMRecords('a'), account...) }

// ClusterServers returns the prefix of the servers that share the store.
func ClusterServers() []byte { return []byte{prefixCluster, clusterServer} }

// ClusterServer returns the key of a server's record.
func ClusterServer(id string) []byte { return append(ClusterServers(), id...) }

// ClusterLeases returns the prefix of the leases of jobs.
func ClusterLeases() []byte { return []byte{prefixCluster, clusterLease} }

// ClusterLease returns the key of a job's lease.
func ClusterLease(job string) []byte { return append(ClusterLeases(), job...) }

// ClusterLog returns the key of the number of the last log entry.
func ClusterLog() []byte { return []byte{prefixCluster, clusterLog} }

// ClusterEntry returns the key of log entry n.
func ClusterEntry(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixCluster, clusterEntry}, n)
}

// ClusterMessage returns the key of what a server publishes to the others.
func ClusterMessage(id string) []byte { return append([]byte{prefixCluster, clusterMessage}, id...) }

// ClusterMails returns the prefix of a server's mail.
func ClusterMails(id string) []byte {
	return append(append([]byte{prefixCluster, clusterMail}, id...), 0)
}

// ClusterMail returns the key of entry n of a server's mail.
func ClusterMail(id string, n uint64) []byte {
	return binary.BigEndian.AppendUint64(ClusterMails(id), n)
}

// ClusterFreeze returns the key of the freeze in progress.
func ClusterFreeze() []byte { return []byte{prefixCluster, clusterFreeze} }

// Remembered reports whether servers cache what is at the key, so that changes of it must go through the log of package
// cluster.
func Remembered(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	switch key[0] {
	case prefixMeta:
		return key[1] == metaTable || key[1] == metaStream
	case prefixWatch:
		return key[1] == watchMetric || key[1] == watchAlarm
	}
	return key[0] == prefixJob || key[0] == prefixScale || key[0] == prefixIAM
}

// Local reports whether a record describes a store rather than its data, so that it must not be copied to another
// store: records of servers, format and clock. Counters are local too, since some engines keep them apart from other
// keys.
func Local(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	return key[0] == prefixCluster || key[0] == prefixMeta && (key[1] == metaFormat || key[1] == metaClock || key[1] == metaCounters)
}
