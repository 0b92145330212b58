// Package objectstore keeps the objects that a message leaves behind: attachments, raw messages,
// header blocks. One contract, Store, has two implementations: S3 (Amazon S3 and servers that
// speak its API) and Dir (a plain directory). Open picks one by the scheme of the setting store.url.
//
// The promise of Put is what a 250 reply to the SMTP client rests on:
//
//   - A reader that ends with anything but io.EOF itself aborts the object. io.ErrUnexpectedEOF, or
//     an error that wraps io.EOF, is a failure: half an attachment must not look like a whole one.
//   - Nothing is visible under the key before Put has succeeded.
//   - The octets stored are compared with the octets read before Put succeeds. S3 servers that
//     know CRC32C also verify the content of every request; those that do not ignore it.
//   - On failure the multipart upload or temporary file is removed, also when the caller's context
//     has ended, within a bounded time. Where that could not be made certain, the error wraps
//     ErrUncertain, and the caller has to Delete and Abort later.
//
// Uploads to S3 draw their buffers from one Pool, which bounds the memory of all of them together.
// An upload holds what has arrived of at most two parts: one is sent while the next is read. An
// object that ends within its first part is stored by one PutObject, any other by a multipart upload.
//
// Keys are relative to the store: to PREFIX of s3://BUCKET/PREFIX, or to the directory. They consist
// of elements separated by "/"; see ErrKey for what is refused. A key is meant to be used once: Dir
// refuses one that exists (ErrExists), S3 replaces the object, or adds a version in a versioned bucket.
//
// The largest object is given by S3.MaxObjectBytes: 10,000 parts, which double in size after every
// thousand, up to half of the pool. With parts of 8 MiB and a pool of 64 MiB that is 273 GiB. The parts
// of uploads that are fed together, see Store.Together, do not grow: 78 GiB.
//
// Left out: encryption and retention (bucket policy and lifecycle rules do it), object metadata,
// listing of objects. Nothing here decides from a listing what to remove.
package objectstore
