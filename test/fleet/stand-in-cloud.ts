import { parseArgs } from 'node:util'
import { standInSts } from '../clients/stand-in-sts.ts'

/** `./dev sts`: what stands where a cloud's token service would be, until SIGINT or SIGTERM. */

const USAGE = `Usage: ./dev sts --issuer URL --subject S --certificate FILE --key FILE

A token service as those of AWS, Alibaba Cloud and Google, as far as their SDKs
ask it. It has one role, which trusts tokens of the issuer for the subject, and
finds the issuer's keys by discovery. Its credentials open nothing.

  --issuer URL        the registrar's own name
  --subject S         what tokens of the instance name it by
  --certificate FILE  its own for localhost, in PEM
  --key FILE          the key of that
  --authorities FILE  what the issuer's certificate must lead to (default: that
                      of --certificate)
  --port N            where it listens (default 9443)
`
const PORT = '9443'

class WrongUsage extends Error {}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      issuer: { type: 'string' },
      subject: { type: 'string' },
      certificate: { type: 'string' },
      key: { type: 'string' },
      authorities: { type: 'string' },
      port: { type: 'string', default: PORT },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return void process.stdout.write(USAGE)
  const { issuer: url, subject, certificate: file, key: keyFile, authorities = file } = values
  if (!url || !subject || !file || !keyFile || !authorities) throw new WrongUsage(USAGE)
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  const trusted = { url, subject, authorities }
  await using sts = await standInSts({ file, keyFile }, trusted, Number(values.port))
  process.stdout.write(`ready: https://${sts.host}\n`)
  await ended
}

try {
  await main()
} catch (error) {
  process.stderr.write(`dev sts: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(error instanceof WrongUsage ? 2 : 1)
}
