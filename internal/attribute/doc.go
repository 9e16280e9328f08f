// Package attribute implements DynamoDB's data model in a single binary form: attribute values, items and 38-digit numbers.
//
// An item is bytes, on disk, in memory and between packages; nothing here builds a tree. The form is canonical (fields sorted by name,
// sets sorted, numbers normalized), so two values are equal exactly if their bytes are.
//
//	Item  = 0x01 | size (4, little endian) | count (4) | Field*
//	Field = len (uvarint) | name | Value                        sorted by name
//	Value = tag | payload
//	        S, N, B        len (uvarint) | bytes                 N is canonical decimal text
//	        TRUE FALSE NULL                                      no payload
//	        SS, NS, BS     length (4) | count (4) | (len | bytes)*   sorted
//	        L              length (4) | count (4) | Value*
//	        M              length (4) | count (4) | Field*       sorted by name
//
// size is the item's size in bytes as defined by the AWS page "DynamoDB item sizes and formats". Stored with the item, it makes computing
// capacity units cheap.
//
// A request may contain JSON of the right types that is no valid attribute value, such as an empty set or a malformed number. It decodes
// to an invalid value that carries AWS's sentence, and the operation decides when to report that (Item.Invalid, Value.Invalid).
//
// All functions trust the bytes of items and values. WellFormed is the exception: it checks bytes from outside.
package attribute
