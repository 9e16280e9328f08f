// Package keyspace has every key that Stator writes, in every engine. It is the only place that knows their layout.
//
//	t | table id (4) | index (1) | hash (4) | partition key | sort key           an item; index 0 is the table itself
//	t | table id (4) | index (1) | hash (4) | partition key | sort key | item key   an index entry; the item key is the
//	                                                                             partition key and sort key of the item
//	s | table id (4) | shard (4) | stamp (8) | n (2)        a change record: the n-th of the transaction with that stamp
//	x | table id (4) | bucket (1) | seconds (8) | hash (4) | partition key | sort key   when an item expires; the bucket is
//	                                                                             of the hash, so that not all expire in one place
//	h | table id (4) | day (4) | hash (4) | partition key | sort key | stamp (8)   what an item was before the change with
//	                                                                        that stamp, for point-in-time recovery
//	m t | account 0 region 0 name     a table's description
//	m n                               the last table id given out
//	m c | table id (4)                a table's counters: items and bytes, of the table and of each index
//	m d | table id (4)                a dropped table whose items are still to be removed
//	m s | table id (4) | label        a stream that has ended and is still readable
//	m b | table id (4) | index (1) | part (1)   how far the items of a part of the hashes have been put into a new index, or, for
//	                                  0, into the TTL index
//	m k                               a timestamp that the store's clock had reached
//	m f                               the version of this layout, where no data directory has it
//	k | account 0 token               a transaction's idempotency token
//	w m | id (4)                      a metric's description
//	w i | account 0 region 0 namespace 0 name 0 digest (16) unit   the id of a metric
//	w c | account                     how many metrics an account has put
//	w v                               all metrics are in the index w i
//	w p | id (4) | seconds (4) | time (8)   what a metric was in so many seconds from the time on
//	w a | account 0 region 0 name     an alarm
//	w h | account 0 region 0 time (8) n (4)   an item of the alarms' history
//	w r | rule 0 time (8)             the contributors of a minute, of a Contributor Insights rule
//	w t                               the last minute for which alarms were evaluated and schedules carried out
//	j kind | account 0 region 0 id    a backup, export, import or bulk operation; a cluster, group or event of DAX
//	d l | account 0 id (8)            a list of attribute names that DAX clients know by its id
//	L s | id                          a server of those that share the store
//	L l | job                         which of them does a job
//	L n                               number of the last entry of their log
//	L e | number (8)                  an entry: what has changed, or is to be frozen
//	L f                               what is frozen
//	L u | id                          what a server has used of tables with limited throughput
//	L m | id 0 number (8)             the items that were written through a server's DAX node
//	a kind | account 0 region 0 name  what Application Auto Scaling has: targets, policies, scheduled actions, activities, tags
//
// Key attributes are written so that their bytes sort as DynamoDB sorts them: strings and binaries with 0x00 escaped as
// 00 FF and closed by 00 01, so that begins_with is a range of prefixes; numbers as attribute.AppendNumberKey does. An LSI
// is stored under its item's partition key, a GSI under its own.
//
// Key attributes may be longer than an engine's keys, of which several stand in one (PostgreSQL takes 2,700 bytes). So a partition
// key, and the item key in an index entry, whose encoded form is longer than 255 bytes is stored as 00 02 and its SHA-256: nothing
// depends on how these sort, and items and entries have their key attributes in their values. Tables made by format 3 and before
// have them in full: see KeyForm.
//
// hash is the upper half of the 64-bit xxHash of the encoded partition key. It gives Scan the order that it has in AWS,
// which is none, and makes segment i of n the i-th part of the hash space.
package keyspace

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/attribute"
)

// FormatVersion is the version of the layout. A data directory or storage of a newer one is refused.
const FormatVersion = 4

// boundedSince is the version of the layout since which tables are made with KeysBounded.
const boundedSince = 4

// KeyForm is how long partition keys and item keys are stored, for all of a table's keys alike.
type KeyForm uint8

const (
	// KeysInFull stores them as they are.
	KeysInFull KeyForm = iota
	// KeysBounded stores those longer than maxInFull by their digest.
	KeysBounded
)

// maxInFull is the longest encoded form, in bytes, that KeysBounded stores as it is. With it no key of a table is longer than 2,340
// bytes, and none of an index with one sort key longer than 2,570, each byte of a sort key being a zero.
const maxInFull = 255

// KeysOfFormat returns how a table that is made in a store of this version of the layout has its keys.
func KeysOfFormat(version int) KeyForm {
	if version < boundedSince {
		return KeysInFull
	}
	return KeysBounded
}

// bound returns an encoded key as a key in this form has it.
func (f KeyForm) bound(encoded []byte) []byte {
	if f == KeysInFull || len(encoded) <= maxInFull {
		return encoded
	}
	digest := sha256.Sum256(encoded)
	// No encoded value begins like this: 00 is followed by FF or 01.
	return append([]byte{0, 2}, digest[:]...)
}

const (
	prefixTable  = 't'
	prefixMeta   = 'm'
	prefixToken  = 'k'
	prefixChange = 's'
	prefixExpiry = 'x'
	prefixWatch  = 'w'
	prefixScale  = 'a'
	prefixPast   = 'h'
	prefixJob    = 'j'
	prefixDAX    = 'd'
	prefixFleet  = 'L'

	metaTable    = 't'
	metaTableID  = 'n'
	metaCounters = 'c'
	metaDropped  = 'd'
	metaStream   = 's'
	metaBackfill = 'b'
	metaClock    = 'k'
	metaFormat   = 'f'

	daxList = 'l'

	fleetServer = 's'
	fleetLease  = 'l'
	fleetLog    = 'n'
	fleetEntry  = 'e'
	fleetFreeze = 'f'
	fleetNews   = 'u'
	fleetMail   = 'm'

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
func AppendPartition(dst []byte, table uint32, index uint8, partition []byte, form KeyForm) []byte {
	dst = AppendIndexPrefix(dst, table, index)
	dst = binary.BigEndian.AppendUint32(dst, PartitionHash(partition))
	return append(dst, form.bound(partition)...)
}

// BoundItemKey replaces what is behind the first n bytes of an index entry's key, the item's partition key and sort key in their
// encoded form, by what the form makes of it.
func BoundItemKey(key []byte, n int, form KeyForm) []byte {
	return append(key[:n], form.bound(key[n:])...)
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
	return named(TableRecords(), account, region, name)
}

// LastTableID returns the key of the last table id given out.
func LastTableID() []byte { return []byte{prefixMeta, metaTableID} }

// Clock returns the key of a timestamp that the store's clock had reached.
func Clock() []byte { return []byte{prefixMeta, metaClock} }

// Format returns the key of the layout's version, in a store that has no data directory.
func Format() []byte { return []byte{prefixMeta, metaFormat} }

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

// Suffix returns what the key of an item or index entry has behind the table and the index. The items of two tables with the
// same key attributes have the same suffixes.
func Suffix(key []byte) []byte { return key[indexPrefixLen:] }

// TableIndexes returns the bounds of all index entries of a table.
func TableIndexes(table uint32) (start, end []byte) {
	return AppendIndexPrefix(nil, table, 1), PrefixEnd(TablePrefix(table))
}

// dayMillis is how long a day of the history is.
const dayMillis = 24 * 3600 * 1000

// HistoryDay returns the day, counted from 1970, to which a time in milliseconds since 1970 belongs.
func HistoryDay(ms int64) uint32 { return uint32(max(ms, 0) / dayMillis) }

// HashPart returns in which of n equal parts of the hashes the key of an item or index entry is.
func HashPart(key []byte, n int) int { return int(uint64(HashOf(key)) * uint64(n) / HashSpace) }

// HashBound returns the bound between the suffixes in the first i of n equal parts of the hashes and the others; nil if i is n.
func HashBound(i, n int) []byte {
	if i == n {
		return nil
	}
	// The first hash h of which h*n/HashSpace is i.
	return binary.BigEndian.AppendUint32(nil, uint32((uint64(i)*HashSpace+uint64(n)-1)/uint64(n)))
}

// Past returns the prefix of a table's history.
func Past(table uint32) []byte { return binary.BigEndian.AppendUint32([]byte{prefixPast}, table) }

// AllPasts returns the prefix of the history of all tables.
func AllPasts() []byte { return []byte{prefixPast} }

// PastDay returns the prefix of a day of a table's history.
func PastDay(table, day uint32) []byte { return binary.BigEndian.AppendUint32(Past(table), day) }

// AppendPast appends the key that says what the item stored at itemKey was before the change with a stamp, made at a time in
// milliseconds since 1970.
func AppendPast(dst, itemKey []byte, ms int64, stamp uint64) []byte {
	dst = append(dst, prefixPast)
	dst = binary.BigEndian.AppendUint32(dst, TableID(itemKey))
	dst = binary.BigEndian.AppendUint32(dst, HistoryDay(ms))
	dst = append(dst, Suffix(itemKey)...)
	return binary.BigEndian.AppendUint64(dst, stamp)
}

// pastPrefixLen is the length of what PastDay returns.
const pastPrefixLen = 1 + 4 + 4

// SplitPast returns day, item key's suffix and stamp of a key made by AppendPast; ok is false if it is none.
func SplitPast(key []byte) (day uint32, suffix []byte, stamp uint64, ok bool) {
	if len(key) < pastPrefixLen+8 {
		return 0, nil, 0, false
	}
	return binary.BigEndian.Uint32(key[5:]), key[pastPrefixLen : len(key)-8], binary.BigEndian.Uint64(key[len(key)-8:]), true
}

// Jobs returns the prefix of all records of a kind: see package records.
func Jobs(kind byte) []byte { return []byte{prefixJob, kind} }

// Job returns the key of one of them.
func Job(kind byte, account, region, id string) []byte { return named(Jobs(kind), account, region, id) }

// AttributeList returns the key of the list of attribute names that an account's DAX clients know by the id.
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

// BackfillParts is into how many parts of the hashes, the items of a table are divided when they
// are put into an index.
const BackfillParts = 16

// Backfill returns the key that says how far the items of a part have been put into an index; 0 is the TTL index.
func Backfill(table uint32, index, part uint8) []byte {
	return append(Backfills(table), index, part)
}

// Backfills returns the prefix of Backfill's keys of a table.
func Backfills(table uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixMeta, metaBackfill}, table)
}

// Metrics returns the prefix of the descriptions of metrics.
func Metrics() []byte { return []byte{prefixWatch, watchMetric} }

// Metric returns the key of a metric's description.
func Metric(id uint32) []byte { return binary.BigEndian.AppendUint32(Metrics(), id) }

// MetricIndex returns the prefix of the metrics of an account, then of a region, a namespace and a name, as many as are given.
func MetricIndex(parts ...string) []byte {
	k := []byte{prefixWatch, watchIndex}
	for _, part := range parts {
		k = append(append(k, part...), 0)
	}
	return k
}

// MetricIndexEntry returns the key of the id of a metric in one unit. digest stands for the metric's dimensions.
func MetricIndexEntry(account, region, namespace, name string, digest [16]byte, unit string) []byte {
	return append(append(MetricIndex(account, region, namespace, name), digest[:]...), unit...)
}

// WithoutUnit returns the part of such a key that a metric has in all units.
func WithoutUnit(entry []byte) []byte {
	at := 2
	for range 4 {
		at += bytes.IndexByte(entry[at:], 0) + 1
	}
	return entry[:min(at+16, len(entry))]
}

// MetricCount returns the key of how many metrics an account has put.
func MetricCount(account string) []byte { return append([]byte{prefixWatch, watchCount}, account...) }

// MetricsIndexed returns the key that is there when all metrics are in the index.
func MetricsIndexed() []byte { return []byte{prefixWatch, watchIndexed} }

// AllMetricPoints returns the prefix of what a metric was in all periods.
func AllMetricPoints(id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixWatch, watchPoint}, id)
}

// MetricID returns the id in the key of a metric's description.
func MetricID(key []byte) uint32 { return binary.BigEndian.Uint32(key[len(key)-4:]) }

// MetricPoints returns the prefix of what a metric was in periods of so many seconds.
func MetricPoints(id, seconds uint32) []byte {
	k := binary.BigEndian.AppendUint32([]byte{prefixWatch, watchPoint}, id)
	return binary.BigEndian.AppendUint32(k, seconds)
}

// MetricPoint returns the key of what a metric was in a period that began at the time in seconds since 1970.
func MetricPoint(id, seconds uint32, at int64) []byte {
	return binary.BigEndian.AppendUint64(MetricPoints(id, seconds), uint64(max(at, 0)))
}

// Time returns the time with which a key ends.
func Time(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// named appends an account, a region and a name to a prefix.
func named(prefix []byte, account, region, name string) []byte {
	k := append(prefix, account...)
	k = append(k, 0)
	k = append(k, region...)
	k = append(k, 0)
	return append(k, name...)
}

// SplitNamed returns account, region and name in the key of a table's description, an alarm, or a record of jobs or auto scaling;
// ok is false if it is none.
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

// Alarm returns the key of an alarm.
func Alarm(account, region, name string) []byte { return named(Alarms(), account, region, name) }

// AlarmHistory returns the prefix of the history of an account's alarms.
func AlarmHistory(account, region string) []byte {
	return named([]byte{prefixWatch, watchHistory}, account, region, "")
}

// AllAlarmHistory returns the prefix of the history of all alarms.
func AllAlarmHistory() []byte { return []byte{prefixWatch, watchHistory} }

// AlarmHistoryItem returns the key of the n-th item of a millisecond since 1970.
func AlarmHistoryItem(account, region string, ms int64, n uint32) []byte {
	k := binary.BigEndian.AppendUint64(AlarmHistory(account, region), uint64(ms))
	return binary.BigEndian.AppendUint32(k, n)
}

// ContributorReports returns the prefix of the minutes of a Contributor Insights rule.
func ContributorReports(rule string) []byte {
	return append(append([]byte{prefixWatch, watchReport}, rule...), 0)
}

// EvaluatedMinute returns the key of the last minute for which alarms were evaluated and schedules carried out.
func EvaluatedMinute() []byte { return []byte{prefixWatch, watchMinute} }

// AllContributorReports returns the prefix of those of all rules.
func AllContributorReports() []byte { return []byte{prefixWatch, watchReport} }

// ContributorReport returns the key of the minute that began at the time in seconds since 1970.
func ContributorReport(rule string, at int64) []byte {
	return binary.BigEndian.AppendUint64(ContributorReports(rule), uint64(at))
}

// AllScalingRecords returns the prefix of all that Application Auto Scaling has.
func AllScalingRecords() []byte { return []byte{prefixScale} }

// ScalingRecord returns the key of one of them.
func ScalingRecord(kind byte, account, region, name string) []byte {
	return named([]byte{prefixScale, kind}, account, region, name)
}

// FleetServers returns the prefix of the servers that share the store.
func FleetServers() []byte { return []byte{prefixFleet, fleetServer} }

// FleetServer returns the key of one of them.
func FleetServer(id string) []byte { return append(FleetServers(), id...) }

// FleetLeases returns the prefix of who does what.
func FleetLeases() []byte { return []byte{prefixFleet, fleetLease} }

// FleetLease returns the key of who does a job.
func FleetLease(job string) []byte { return append(FleetLeases(), job...) }

// FleetLog returns the key of the number of the last entry of the servers' log.
func FleetLog() []byte { return []byte{prefixFleet, fleetLog} }

// FleetEntry returns the key of an entry.
func FleetEntry(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixFleet, fleetEntry}, n)
}

// FleetNews returns the key of what a server tells the others.
func FleetNews(id string) []byte { return append([]byte{prefixFleet, fleetNews}, id...) }

// FleetMails returns the prefix of a server's mail.
func FleetMails(id string) []byte { return append(append([]byte{prefixFleet, fleetMail}, id...), 0) }

// FleetMail returns the key of an entry of it.
func FleetMail(id string, n uint64) []byte { return binary.BigEndian.AppendUint64(FleetMails(id), n) }

// FleetFreeze returns the key of what is frozen.
func FleetFreeze() []byte { return []byte{prefixFleet, fleetFreeze} }

// Remembered reports whether servers keep what is at the key in memory, so that all must hear of its changes.
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
	return key[0] == prefixJob || key[0] == prefixScale
}

// Local reports whether a record belongs to a store and not to its data: those of its servers, its format and its clock. Counters,
// which not all engines keep among the keys, are so too.
func Local(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	return key[0] == prefixFleet || key[0] == prefixMeta && (key[1] == metaFormat || key[1] == metaClock || key[1] == metaCounters)
}
