# Stands in for an agent: it types what an agent's prompt explains under "Dividing the work" and "What people said".
set -e

if [ -n "$DAPLUG_REMARKS" ]; then       # a person has looked at it, and wants something to be different
    echo "Everything costs 1." >> pages.txt
    exit
fi

echo "Tables first, then the API, then the pages." > plan.txt
daplug-supervise task create shop-db "echo 'goods, orders' > tables.txt" --command
daplug-supervise task create shop-api "sed 's/^/list /' tables.txt > api.txt" --command --blocked-by shop-db
daplug-supervise task create shop-ui "sed 's/^/buttons: /' api.txt > pages.txt" --command --blocked-by shop-api
daplug-supervise task update --status delegated
