package smtpd

import "bytes"

// httpMethods begin the requests of those who think that this is the web.
var httpMethods = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("DELETE "), []byte("CONNECT "), []byte("OPTIONS "),
	[]byte("TRACE "), []byte("PATCH "), []byte("PRI "),
}

// isHTTP reports whether a line begins a request of HTTP, whose body may hold
// commands: a browser sends what a web page tells it to, to any port.
func isHTTP(line []byte) bool {
	for _, m := range httpMethods {
		if bytes.HasPrefix(line, m) {
			return true
		}
	}
	i := bytes.LastIndexByte(line, ' ')
	return bytes.HasPrefix(line[i+1:], []byte("HTTP/"))
}
