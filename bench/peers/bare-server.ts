import { readFileSync } from 'node:fs'
import { Agent, createServer, type RequestListener, request as send } from 'node:http'

/** What metabind is compared with: `SOCKET same FILE` or `SOCKET relay URL TOKEN`. */
const [socket = '', kind, from = '', token = ''] = process.argv.slice(2)

function same(): RequestListener {
  // A string: node:http writes it together with the headers, which is the cheapest that it can do.
  const body = readFileSync(from, 'utf8')
  const headers = { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) }
  return (_request, response) => {
    response.writeHead(200, headers).end(body)
  }
}

function relay(): RequestListener {
  const agent = new Agent({ keepAlive: true })
  const headers = { 'X-aliyun-ecs-metadata-token': token }
  return (request, response) => {
    const asked = send(`${from}${request.url}`, { agent, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    asked.on('error', () => response.destroy())
    asked.end()
  }
}

createServer({ keepAliveTimeout: 75_000 }, kind === 'same' ? same() : relay()).listen(socket)
