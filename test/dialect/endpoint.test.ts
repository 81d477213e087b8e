import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { endpointOf, parseEndpoint } from '../../src/dialect/endpoint.ts'

test.each([
  ['http://100.100.100.200', 'http://100.100.100.200', '100.100.100.200', 80, true],
  ['http://169.254.169.254:8080/', 'http://169.254.169.254:8080', '169.254.169.254', 8080, true],
  ['http://metadata.example:80', 'http://metadata.example', 'metadata.example', 80, false],
  ['http://[fd00:ec2::254]', 'http://[fd00:ec2::254]', '[fd00:ec2::254]', 80, false],
])('%s', (url, origin, host, port, isIpv4) => {
  expect(parseEndpoint(url)).toEqual({ origin, host, port, isIpv4 })
})

test('the configuration may name another than the dialect', () => {
  const sourceOf = (text: string) => parseConfig([{ file: 'x', text: `[source]\n${text}` }]).source
  expect(endpointOf(sourceOf(''))).toBe('http://100.100.100.200')
  expect(endpointOf(sourceOf('dialect = "ec2"'))).toBe('http://169.254.169.254')
  expect(endpointOf(sourceOf('endpoint = "http://192.0.2.1:81"'))).toBe('http://192.0.2.1:81')
})
