/**
 * An application with the unmodified @alicloud/credentials: for each line on standard input, a
 * configuration as JSON (null: the default chain), it makes a client and prints what that gets.
 */
const { createInterface } = require('node:readline')
const { default: Credential, Config } = require('@alicloud/credentials')

async function credentialsOf(line) {
  const config = JSON.parse(line)
  try {
    const client = new Credential(config === null ? null : new Config(config))
    const { accessKeyId, accessKeySecret, securityToken, providerName } =
      await client.getCredential()
    return { accessKeyId, accessKeySecret, securityToken, providerName }
  } catch (error) {
    return { error: error.message }
  }
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await credentialsOf(line))}\n`)
  }
  process.exit(0)
}

void main()
