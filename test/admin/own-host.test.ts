import { expect, test } from 'vitest'
import { isOwnHost } from '../../src/admin/own-host.ts'

test.each([
  undefined,
  '',
  'metabind',
  'localhost',
  'unix',
  'x',
  'localhost:9000',
  '127.0.0.1',
  '127.0.0.1:80',
  '[::1]:80',
  '[::1]',
  '192.168.0.1:1',
  '/run/metabind/admin.sock',
  '%2Frun%2Fmetabind%2Fadmin.sock',
])('a client of the socket may say %j', (host) => {
  expect(isOwnHost(host)).toBe(true)
})

test.each([
  'evil.example',
  'evil.example:9000',
  'localhost.evil.example',
  '127.0.0.1.evil.example:80',
  'evil:9000',
  'evil.',
  '127.1:80.evil.example',
  'localhost.:80',
  ':80',
  'a:b',
  '[::1].evil.example',
  'LOCALHOST.evil.example:1',
])('a web page may have said %j', (host) => {
  expect(isOwnHost(host)).toBe(false)
})
