// Package attribute holds DynamoDB's data model in its one binary form: attribute values, items and 38-digit numbers.
//
// An item is bytes, on disk, in memory and between packages; nothing here builds a tree. The form is canonical
// (fields sorted by name, sets sorted, numbers normalised), so that equality of values is equality of bytes.
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
// size is the item's size in bytes as the AWS page "DynamoDB item sizes and formats" defines it, so that capacity
// units need no second look at the item.
//
// What a request carries may be JSON of the right types and yet no attribute value (an empty set, a number that is
// none). Such a value decodes to an invalid one that carries AWS's sentence, and the operation decides when to report it
// (Item.Invalid, Value.Invalid).
package attribute
