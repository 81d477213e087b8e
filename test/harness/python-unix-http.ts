/** Python that asks over the Unix socket in its first argument: the beginning of the scripts that run as another user. */
export const PYTHON_UNIX_HTTP = `import http.client,socket,sys
class Unix(http.client.HTTPConnection):
  def connect(self):
    self.sock = socket.socket(socket.AF_UNIX)
    self.sock.connect(sys.argv[1])
`
