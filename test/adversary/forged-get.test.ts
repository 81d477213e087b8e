/**
 * A user has a web application fetch URLs on the socket by GET, as server-side request forgery does, with whatever can be
 * put into a URL: the token path, the token or a method in a query, further lines in the path.
 */
import { expect, inject, test } from 'vitest'
import { CREDENTIALS_PATH, sendRaw, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const TOKEN_NAME = 'X-aliyun-ecs-metadata-token'
// What a library that fetches URLs adds by itself.
const HEAD = 'Host: metadata\r\nAccept: */*\r\nUser-Agent: fetcher\r\nConnection: close\r\n\r\n'

test('a URL alone gets neither a token nor metadata', async () => {
  const { metadataSocket } = inject('target')
  // Even if it could learn one: the forger's application is the attacker's own user here.
  const { body: token } = await tokenAs({ uid: 61_110 }, metadataSocket)
  const targets = [
    '/latest/api/token',
    `/latest/api/token?${TOKEN_NAME}-ttl-seconds=600`,
    '/latest/api/token?_method=PUT',
    CREDENTIALS_PATH,
    `/latest/meta-data/instance-id?${TOKEN_NAME}=${token}`,
    `/latest/meta-data/instance-id%20HTTP/1.1%0d%0a${TOKEN_NAME}:%20${token}`,
    `http://metadata/latest/meta-data/instance-id`,
    `//user:${token}@metadata/latest/meta-data/instance-id`,
  ]
  await whileServed(metadataSocket, async () => {
    for (const target of targets) {
      const got = await sendRaw(metadataSocket, `GET ${target} HTTP/1.1\r\n${HEAD}`, {
        uid: 61_110,
      })
      expect(got, target).toMatch(/^HTTP\/1\.1 4\d\d /)
      expect(got, target).not.toMatch(/i-bp|AccessKey/)
    }
  })
})
