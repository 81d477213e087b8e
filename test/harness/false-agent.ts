import { ATTACKER, accomplice } from './attack.ts'
import type { PeerOptions } from './peer.ts'

/** A program of the attacker's that says to be the agent, on a socket of its own. */
export interface FalseAgent {
  /** What it answers from now on: a text, to a path or to every one, or one over and over without an end. */
  answer(
    what: string | Readonly<Record<string, string>> | { readonly endless: string },
  ): Promise<void>
}

// One line of JSON on standard input is what is answered from then on.
const SCRIPT = `import http.server,json,os,socketserver,sys,threading
answers = ''
class Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'
  def log_message(self, *args): pass
  def address_string(self): return ''
  def do_GET(self):
    self.rfile.read(int(self.headers.get('content-length', 0)))
    path = self.path.split('?')[0]
    endless = isinstance(answers, dict) and answers.get('endless')
    body = answers if isinstance(answers, str) else answers.get(path, answers.get(path.split('/')[-1], ''))
    self.send_response(200)
    self.send_header('content-type', 'application/json')
    self.send_header('x-aliyun-ecs-metadata-token-ttl-seconds', '60')
    if endless:
      self.send_header('transfer-encoding', 'chunked')
      self.end_headers()
      piece = endless.encode() * 4096
      try:
        while True: self.wfile.write(b'%x\\r\\n%s\\r\\n' % (len(piece), piece))
      except OSError: self.close_connection = True
      return
    self.send_header('content-length', str(len(body.encode())))
    self.end_headers()
    try: self.wfile.write(body.encode())
    except OSError: self.close_connection = True
  do_PUT = do_POST = do_GET
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
  daemon_threads = True
  request_queue_size = 64
  def handle_error(self, *args): pass
server = Server(sys.argv[1], Handler)
os.chmod(sys.argv[1], 0o777)
threading.Thread(target=server.serve_forever, daemon=True).start()
print('listens', flush=True)
for line in sys.stdin:
  answers = json.loads(line)
  print('said', flush=True)`

/** Starts one as the attacker, until the test ends, in a folder where the attacker may write. */
export async function startFalseAgent(
  socketPath: string,
  options: PeerOptions = { uid: ATTACKER },
): Promise<FalseAgent> {
  const { said, told } = accomplice(SCRIPT, [socketPath], options)
  if ((await said()) !== 'listens') throw new Error('it does not listen')
  return { answer: async (what) => void (await told(JSON.stringify(what))) }
}
